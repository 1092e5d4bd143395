"""What the panel itself answers with."""

from __future__ import annotations

from ._kind import Kind

PANEL = {
    "bad_request": Kind("the request cannot be understood", "无法理解该请求"),
    "login_required": Kind("log in first", "请先登录", "enter the access token", "请输入访问令牌"),
    "forbidden": Kind("that is not allowed", "没有权限"),
    "method_not_allowed": Kind("that cannot be done here", "此处不支持该操作"),
    "not_json": Kind("the request must be JSON", "请求必须是 JSON"),
    "too_many_requests": Kind("too many requests", "请求过于频繁", "wait a moment", "请稍后再试"),
    "unavailable": Kind("not available at the moment", "暂时不可用", "try again in a moment", "请稍后再试"),
    "ticket_required": Kind("the live stream needs a ticket", "实时数据需要票据", "load the page again", "请刷新页面"),
    "ticket_invalid": Kind(
        "the live stream's ticket is not valid", "实时数据的票据无效", "load the page again", "请刷新页面"
    ),
    "too_many_streams": Kind(
        "too many live streams are open", "打开的实时连接过多", "close other windows", "请关闭其他窗口"
    ),
    "upgrade_required": Kind("this address is for WebSockets", "该地址只接受 WebSocket 连接"),
    "wrong_origin": Kind("the request comes from another site", "请求来自其他网站，已拒绝"),
}
