// @ts-check
import { _ } from "../i18n.js";
import { byId } from "../lib/dom.js";
import { alarms } from "./alarms.js";
import { eventsTable } from "./events.js";
import { gaps } from "./gaps.js";
import { mountTabs } from "./tabs.js";
import { todo } from "./todo.js";
import { showTodo } from "./topbar.js";

export function mountBottom() {
  const todoPart = todo();
  const alarmPart = alarms();
  const tabs = mountTabs(byId("tabs"), byId("bottom"), [
    { id: "events", name: _("Leader orders"), panel: eventsTable() },
    { id: "todo", name: _("Needs you"), panel: todoPart.element },
    { id: "alarms", name: _("Alarms"), panel: alarmPart.element, tools: alarmPart.tools },
    { id: "gaps", name: _("Interruptions"), panel: gaps() },
  ]);
  todoPart.onCount((count) => {
    tabs.count("todo", count, "bad");
    showTodo(count, () => {
      tabs.open("todo");
      byId("tab-todo").focus();
    });
  });
  alarmPart.onCount((count) => tabs.count("alarms", count, "warn"));
  return tabs;
}
