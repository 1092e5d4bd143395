"""What errors, copies and leader orders carry as their ``kind`` or ``reason_kind``."""

from __future__ import annotations

from ._kind import Kind

# --- what keeps a key, or an account, from trading ------------------------------------------------------

KEYS = {
    "invalid_key": Kind(
        "the exchange does not accept this API key",
        "交易所不接受这个 API Key（已删除、环境不对、未绑定本机 IP 或缺少权限）",
        "check key, environment, address and permissions at the exchange, then verify the account or set a new key",
        "到交易所检查 Key、环境、绑定的 IP 与权限，然后重新验证账户或更换 Key",
    ),
    "wrong_secret": Kind(
        "the API secret does not fit the API key",
        "API Secret 与 API Key 不匹配",
        "enter key and secret again, as one pair",
        "请重新成对填写 Key 与 Secret",
    ),
    "wrong_passphrase": Kind(
        "the passphrase does not fit the API key",
        "口令（passphrase）与 API Key 不匹配",
        "enter the passphrase that was chosen when the key was made",
        "请填写创建该 Key 时设置的口令",
    ),
    "wrong_environment": Kind(
        "the API key belongs to another environment",
        "这个 API Key 属于另一个环境（正式／模拟）",
        "choose the environment in which the key was made",
        "请选择创建该 Key 时所在的环境",
    ),
    "no_read_permission": Kind(
        "the API key may not read the account",
        "这个 API Key 没有读取权限",
        "tick reading for the key at the exchange, then verify the account",
        "到交易所为该 Key 勾选“读取”，然后重新验证账户",
    ),
    "no_trade_permission": Kind(
        "the API key may not trade spot",
        "这个 API Key 没有现货交易权限",
        "tick spot trading for the key at the exchange, then verify the account",
        "到交易所为该 Key 勾选“现货交易”，然后重新验证账户",
    ),
    "ip_not_allowed": Kind(
        "the API key does not allow this machine's address",
        "这个 API Key 不允许本机的 IP 地址",
        "add this machine's address to the key at the exchange, then verify the account",
        "到交易所把本机 IP 加入该 Key 的白名单，然后重新验证账户",
    ),
    "account_blocked": Kind(
        "the exchange has restricted this account",
        "交易所限制了这个账户的交易",
        "ask the exchange why, then verify the account",
        "请向交易所询问原因，解除后重新验证账户",
    ),
    "can_withdraw": Kind(
        "the API key may withdraw",
        "这个 API Key 可以提现，已被拒绝使用",
        "make a key that may only read and trade spot, and set it for the account",
        "新建一个只能读取和现货交易的 Key，并更换到该账户",
    ),
    "can_transfer": Kind(
        "the API key may transfer funds",
        "这个 API Key 可以划转资金，已被拒绝使用",
        "make a key that may only read and trade spot, and set it for the account",
        "新建一个只能读取和现货交易的 Key，并更换到该账户",
    ),
    "region": Kind(
        "the exchange does not serve this region or wants an identity check",
        "交易所不向本机所在地区提供服务，或要求完成身份认证",
        "run the engine from a place that the exchange serves; complete its identity check",
        "请在交易所支持的地区运行引擎，或完成身份认证",
    ),
    "duplicate_name": Kind(
        "there is an account of this name already", "已有同名账户", "choose another name", "请换一个名称"
    ),
    "duplicate_key": Kind(
        "this API key is in use by another account here",
        "这个 API Key 已被另一个跟单账户使用",
        "use a key of its own for each account",
        "请为每个账户使用各自的 Key",
    ),
    "duplicate_account": Kind(
        "the key belongs to an exchange account that is here already",
        "这个 Key 所属的交易所账户已经添加过",
        "remove one of the two accounts",
        "请删除两个账户中的一个",
    ),
    "leader_key": Kind(
        "this is the leader's own account: it cannot follow itself",
        "这是主账户自己的账户，不能跟自己的单",
        "use another account as the follower, or another leader",
        "请换一个跟单账户，或更换主账户",
    ),
    "other_account": Kind(
        "the new key belongs to another account at the exchange",
        "新 Key 属于交易所的另一个账户",
        "add it as an account of its own",
        "请把它作为新账户添加",
    ),
    "not_verified": Kind(
        "the exchange has not yet confirmed this account's key",
        "交易所尚未确认该账户的 Key",
        "wait, or verify the account",
        "请稍候，或重新验证账户",
    ),
    "second_installation": Kind(
        "another installation of copytrade trades on this account, too",
        "另一套 copytrade 也在用这个账户跟单，已停用",
        "remove the account from the other installation, then verify it here",
        "请在另一套系统中删除该账户，然后在这里重新验证",
    ),
    "paused": Kind("the account is paused", "账户已暂停", "resume the account", "恢复该账户"),
    "removed": Kind("the account was removed", "账户已删除"),
    "unknown_field": Kind("the exchange has no such field", "该交易所没有这个字段"),
    "missing_field": Kind("a field is missing", "有必填项未填写", "fill in every field", "请填写全部必填项"),
}

# --- what an exchange answers to an order or a question -------------------------------------------------

ANSWERS = {
    "rejected": Kind("the exchange refused the order", "交易所拒绝了订单"),
    "insufficient_balance": Kind(
        "the free balance does not cover the order",
        "可用余额不足",
        "see what else uses this account's balance",
        "请查看该账户的余额是否被其他操作占用",
    ),
    "below_minimum": Kind(
        "the order is below the exchange's minimum",
        "订单低于交易所的最小下单金额",
        "keep more funds on the account, or let it be",
        "可增加该账户资金，或忽略",
    ),
    "duplicate_order_id": Kind(
        "an order with this id is at the exchange already", "交易所已有同一订单号的订单，正在查找"
    ),
    "bad_parameter": Kind("the exchange did not understand the order", "交易所不接受订单的某个参数"),
    "precision": Kind("the size has more decimals than the pair allows", "数量的小数位超过交易对的精度"),
    "filter": Kind("the size is outside the pair's rules", "数量不符合交易对的规则"),
    "size_out_of_range": Kind("the order is smaller or larger than allowed", "订单过小或过大，超出交易所的范围"),
    "no_liquidity": Kind("the order book is too thin", "盘口深度不足"),
    "market_condition": Kind("the market moved too far or is too thin", "行情波动过大或流动性不足"),
    "market_closed": Kind("the pair is not being traded now", "交易对当前未开放交易"),
    "market_orders_closed": Kind("the pair takes no market orders now", "交易对当前不接受市价单"),
    "exchange_not_trading": Kind("the exchange has switched trading off", "交易所暂停了交易"),
    "not_known_yet": Kind(
        "the account's balance, or the exchange's rules, are not known yet",
        "账户余额或交易规则暂时未知",
        "try again in a moment",
        "请稍后再试",
    ),
    "symbol_closed": Kind("the exchange has closed this pair for trading", "交易所已关闭该交易对的交易"),
    "unknown_symbol": Kind("the exchange does not know this pair", "交易所没有这个交易对"),
    "symbol_not_permitted": Kind("the account may not trade this pair", "该账户不允许交易这个交易对"),
    "symbol_not_tradable": Kind("the pair cannot be traded by API", "该交易对不支持 API 交易"),
    "not_in_demo": Kind("the exchange's demo does not offer this", "交易所的模拟环境不支持此操作"),
    "too_many_orders": Kind("too many orders are open on the account", "该账户未完成的委托过多"),
    "purchase_cap": Kind(
        "the exchange caps how much of this coin the account may buy", "交易所限制该账户买入此币的数量"
    ),
    "order_not_found": Kind("the exchange knows no such order", "交易所查不到这个订单"),
    "order_archived": Kind("the order ended unfilled long ago", "订单早已结束且未成交，已归档"),
    "two_orders": Kind(
        "two orders carry the same id",
        "交易所有两个订单使用同一编号",
        "look at the account at the exchange and settle the copy",
        "请到交易所核对该账户，并人工处理这条跟单",
    ),
    "too_many": Kind("the account has too many orders to search them all", "该账户订单过多，无法全部查找"),
    "account_mode": Kind(
        "it is not known yet whether the account is classic or unified", "尚未确定账户是经典账户还是统一账户"
    ),
    "account_mode_changed": Kind(
        "the account changed between classic and unified", "账户类型（经典／统一）已改变，正在重新识别"
    ),
    "bad_order": Kind("the order does not fit this account", "订单与该账户不符，未发送"),
    "wrong_account": Kind("the order was made for another key", "订单属于另一个 Key，未发送"),
}

# --- the way to the exchange ---------------------------------------------------------------------------

CONNECTIONS = {
    "not_sent": Kind("the order provably never left", "订单确定没有发出"),
    "cannot_connect": Kind(
        "the exchange cannot be reached", "无法连接交易所", "check this machine's network", "请检查本机网络"
    ),
    "connect_timeout": Kind(
        "the exchange did not take the connection in time",
        "连接交易所超时",
        "check this machine's network",
        "请检查本机网络",
    ),
    "connection_lost": Kind("the connection broke", "连接中断"),
    "bad_certificate": Kind(
        "the exchange's certificate is not valid",
        "交易所的证书无效，可能有人窃听",
        "check this machine's clock and network before anything else",
        "请先检查本机时间与网络",
    ),
    "no_answer": Kind("no answer came in time", "没有按时收到回应"),
    "outcome_unknown": Kind("nobody knows yet whether it was executed", "尚不清楚是否已执行，正在核对"),
    "unreadable_answer": Kind("the answer cannot be read", "无法识别对方的回应"),
    "plugin_bug": Kind(
        "a plug-in failed",
        "插件内部出错",
        "report it to the plug-in's author, with the log",
        "请把日志反馈给插件作者",
    ),
    "rate_limited": Kind("too many requests were sent", "请求过于频繁，被交易所限频"),
    "banned": Kind(
        "the exchange has banned this machine's address for a while",
        "交易所暂时封禁了本机的 IP 地址",
        "wait until the ban ends; see what else uses this address",
        "等待封禁结束，并检查同一 IP 上的其他程序",
    ),
    "firewall": Kind(
        "the exchange's firewall turned the request away",
        "请求被交易所的防火墙拦截",
        "see what else uses this address",
        "请检查同一 IP 上的其他程序",
    ),
    "budget": Kind("the request budget is used up for the moment", "请求额度暂时用完，稍后再试"),
    "clock_skewed": Kind(
        "this machine's time and the exchange's differ too much",
        "本机时间与交易所相差过大",
        "have the clock kept by NTP",
        "请开启 NTP 时间同步",
    ),
    "stream_interrupted": Kind("the stream of events is interrupted", "数据流中断，正在重连"),
    "already_subscribed": Kind("the account's events already run on this connection", "该账户已在此连接上订阅"),
    "not_subscribed": Kind("the account's events do not run on this connection", "该账户未在此连接上订阅"),
    "connection_used_up": Kind("the connection can take no further subscription", "此连接的订阅数已满"),
    "no_socket_left": Kind(
        "this address's sockets are all in use; balances are polled",
        "本机 IP 可用的连接已用完，余额改为轮询",
    ),
    "not_yet": Kind("the connection is not up yet", "连接尚未建立"),
    "silent": Kind("the connection went silent", "连接没有任何数据"),
    "stopped": Kind("it was stopped", "已停止"),
}

# --- why a copy, or a leader order, ended as it did ----------------------------------------------------

REASONS = {
    "too_small": Kind(
        "the share of the free balance[ (%(computed)s %(asset)s)] rounds down to nothing",
        "按比例计算的数量[（%(computed)s %(asset)s）]舍去后为 0，太小",
        "keep more funds on the account, or let it be",
        "可增加该账户资金，或忽略",
    ),
    "before_resumed": Kind(
        "the leader placed it before this account was added or resumed", "主账户下单时该账户尚未添加或恢复"
    ),
    "before_started": Kind("the leader placed it before copying was started", "主账户下单时跟单尚未开始"),
    "copying_stopped": Kind(
        "copying is stopped", "跟单已停止", "start copying to copy what comes", "点击“开始”后才会跟单"
    ),
    "too_old": Kind(
        "the leader's order was too old to be copied[ (heard after %(age_sec)s s)]",
        "主账户的订单已过时，不再跟单[（%(age_sec)s 秒后才收到）]",
        "copy it now at the same share, or leave it",
        "可按相同比例立即补跟，或不再处理",
    ),
    "fills_awaited": Kind("accepted; its fills are being read", "已接单，正在读取成交"),
    "restarted": Kind(
        "the engine stopped before the answer came; the exchange is asked", "引擎在收到回应前停止，正在核对"
    ),
    "never_arrived": Kind(
        "the order never reached the exchange",
        "订单确定没有到达交易所",
        "copy it now at the same share, or leave it",
        "可按相同比例立即补跟，或不再处理",
    ),
    "undecided": Kind(
        "it could not be found out whether the order was executed",
        "无法查明订单是否已成交",
        "look at the account at the exchange, then settle the copy",
        "请到交易所查看该账户，然后人工处理这条跟单",
    ),
    "partly_filled": Kind("the order book ran out before all of it was filled", "盘口深度不足，只成交了一部分"),
    "nothing_filled": Kind("the order ended with nothing filled", "订单结束时没有任何成交"),
    "shown_after_all": Kind(
        "the exchange shows an order that it had refused, or that never seemed to have left",
        "交易所显示了一笔曾被拒绝或看似未发出的订单",
    ),
    "sent_before": Kind(
        "the exchange shows an order for it that this journal does not know",
        "交易所已有这条跟单的订单，而本机日志没有记录",
        "copytrade reconcile",
        "请运行 copytrade reconcile 对账",
    ),
    "settled_by_person": Kind("settled as not executed[ by %(by)s]", "已人工处理为未成交[（%(by)s）]"),
    "share_by_person": Kind("the share was given[ by %(by)s]", "比例由人工给出[（%(by)s）]"),
    "share_unknown": Kind(
        "the balance before the order could not be established; nobody copied",
        "无法确定主账户下单前的余额，没有跟单",
        "give the share by hand, or leave the order",
        "请人工给出比例，或不再处理",
    ),
    "gap_too_long": Kind(
        "the leader was not heard for over 24 hours: what was found is not copied by itself",
        "超过 24 小时没有收听到主账户，期间找到的订单不会自动跟单",
        "copy it now at the same share, or leave it",
        "可按相同比例立即补跟，或不再处理",
    ),
    "before_leading": Kind(
        "the leader placed it before this account was set as the leader", "下单时该账户还不是主账户"
    ),
    "never_final": Kind(
        "the exchange never said how the leader's order ended",
        "交易所一直没有给出主账户订单的最终结果",
        "look at the leader's order at the exchange",
        "请到交易所查看主账户的这笔订单",
    ),
    "not_market": Kind("[a %(order_type)s order; ]only market orders are copied", "[%(order_type)s 订单，]只跟市价单"),
    "other_symbol": Kind("an order in another pair[ (%(symbol)s)]", "其他交易对的订单[（%(symbol)s）]，不跟单"),
    "halted": Kind(
        "the engine is halted and does not trade",
        "引擎已停机，不进行交易",
        "see the reason of the halt",
        "请查看停机原因",
    ),
}

# --- what was asked cannot be done ---------------------------------------------------------------------

REQUESTS = {
    "error": Kind("something went wrong", "出错了"),
    "invalid": Kind("the input is not valid", "输入无效"),
    "not_found": Kind("there is no such thing", "找不到"),
    "conflict": Kind(
        "the present state does not allow it",
        "当前状态不允许此操作",
        "look again: somebody may have changed it",
        "请刷新后再试",
    ),
    "no_leader": Kind("no leader is set", "尚未设置主账户", "set the leader first", "请先设置主账户"),
    "cannot_lead": Kind(
        "this exchange cannot lead; it can follow",
        "该交易所不能作为主账户，只能跟单",
        "choose another one",
        "请换一个交易所",
    ),
    "not_restored": Kind("nothing waits to be reconciled", "没有需要对账的恢复"),
    "still_asking": Kind(
        "the exchanges are still being asked", "仍在向各交易所查询", "look again in a moment", "请稍候再试"
    ),
    "unknown_exchange": Kind(
        "no plug-in knows this exchange",
        "没有插件支持这个交易所",
        "see `copytrade plugins`",
        "请用 copytrade plugins 查看已安装的插件",
    ),
    "unknown_environment": Kind(
        "the exchange has no such environment", "该交易所没有这个环境", "choose one that it has", "请选择它提供的环境"
    ),
    "busy": Kind("too many calls at once", "同时的请求过多", "try again", "请稍后再试"),
    "too_large": Kind("the request, or its answer, is too large", "请求或返回的内容过大", "ask for less", "请减少内容"),
    "internal": Kind("something unexpected went wrong", "发生了意外错误", "see the log", "请查看日志"),
}

# --- this installation ---------------------------------------------------------------------------------

INSTALLATION = {
    "config": Kind("a setting is wrong", "配置有误", "mend the setting that the message names", "请修改提示中的配置项"),
    "master_key": Kind(
        "the master key is missing or not the right one",
        "主密钥缺失或不正确",
        "give the key that this vault was made with; nothing was changed",
        "请提供创建该密钥库时的主密钥；数据没有被改动",
    ),
    "vault": Kind(
        "the vault cannot be read or was altered",
        "密钥库无法读取或被改动",
        "restore it from a backup; nothing was overwritten",
        "请从备份恢复；没有覆盖任何数据",
    ),
    "journal": Kind(
        "the journal cannot be written or was damaged",
        "日志数据库无法写入或已损坏，不再发送订单",
        "put the disk in order and restart the engine",
        "请修复磁盘后重启引擎",
    ),
    "already_running": Kind(
        "another engine holds this data directory",
        "另一个引擎正在使用此数据目录",
        "stop the other one first",
        "请先停止另一个引擎",
    ),
    "engine_not_running": Kind(
        "the engine is not running", "引擎没有运行", "start it with `copytrade engine`", "请运行 copytrade engine"
    ),
    "plugin": Kind("a plug-in is not in order", "插件有问题", "see `copytrade plugins`", "请用 copytrade plugins 查看"),
    "plugin_load_failed": Kind(
        "a plug-in cannot be loaded", "插件无法加载", "reinstall or remove it", "请重新安装或移除该插件"
    ),
    "exchange_name_taken": Kind(
        "two plug-ins provide the same exchange", "两个插件提供同一个交易所", "remove one of them", "请移除其中一个"
    ),
}

REFUSALS = KEYS | ANSWERS | CONNECTIONS | REASONS | REQUESTS | INSTALLATION
