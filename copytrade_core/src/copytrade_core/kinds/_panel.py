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
    "not_heard": Kind("the leader's events are not heard yet", "尚未收听到主账户的推送", "wait a moment", "请稍候"),
    "wrong_origin": Kind("the request comes from another site", "请求来自其他网站，已拒绝"),
    "wrong_host": Kind("the panel is reached under another name", "请用面板的正式地址访问"),
    "csrf": Kind("this page is out of date", "页面已过期", "load the page again, then do it again", "请刷新页面后重试"),
    "reauthenticate": Kind("the access token must be shown again", "需要再次输入访问令牌"),
    "token_invalid": Kind(
        "this access token is no good (any more)",
        "访问令牌无效或已撤销",
        "make another one on the server: copytrade tokens add NAME",
        "在服务器上另建一个：copytrade tokens add 名称",
    ),
    "code_invalid": Kind(
        "this code was used before, or is too old",
        "该代码已使用过或已过期",
        "make another one on the server: copytrade tokens login-link, or copytrade devices code",
        "在服务器上另取一个：copytrade tokens login-link 或 copytrade devices code",
    ),
    "still_running": Kind(
        "the same is being done already", "同一操作正在进行", "look whether it was done", "请查看是否已完成"
    ),
    "device_proof_required": Kind(
        "only registered devices may use this panel", "只有已登记的设备可以使用", "log in again", "请重新登录"
    ),
    "device_proof_invalid": Kind("the device's proof does not hold", "设备证明无效", "log in again", "请重新登录"),
    "device_token_invalid": Kind("the device's token has run out", "设备令牌已过期", "log in again", "请重新登录"),
    "device_clock": Kind(
        "this computer's clock is off by more than five minutes",
        "本机时钟偏差超过五分钟",
        "set the computer's clock right",
        "请校准电脑时间",
    ),
    "use_dpop_nonce": Kind("the device's proof must be made anew", "需要重新生成设备证明"),
    "device_unknown": Kind("this device is not registered", "该设备未登记", "register it", "请先登记"),
    "device_pending": Kind(
        "this device waits for approval",
        "该设备等待批准",
        "approve it from another device, or with: copytrade devices approve ID",
        "请在其他设备上批准，或执行：copytrade devices approve 编号",
    ),
    "device_revoked": Kind("this device was revoked", "该设备已被撤销"),
}
