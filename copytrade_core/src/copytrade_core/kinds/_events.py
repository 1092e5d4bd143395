"""What the feed tells (`what` of an event), what halts the engine, and what `doctor` finds."""

from __future__ import annotations

from ._kind import Kind

# A kind that ends in a colon is a family: what stands behind it in a halt's kind is its ``label``.
HALTS = {
    "clock:": Kind(
        "the time at %(label)s is not known for certain",
        "无法确定 %(label)s 的时间",
        "ends with two measurements of its clock that agree; have this machine's clock kept by NTP",
        "两次测得的时间一致后自动恢复；请开启 NTP 时间同步",
    ),
    "thread:": Kind(
        "a part of the engine (%(label)s) failed",
        "引擎的一个部件（%(label)s）出错",
        "restart the engine; keep the log",
        "请重启引擎，并保留日志",
    ),
    "banned:": Kind(
        "%(label)s has shut this machine's address out",
        "%(label)s 封禁了本机 IP",
        "ends by itself when the exchange lets us in again; see what else uses this address",
        "解封后自动恢复；请检查同一 IP 上的其他程序",
    ),
    "certificate:": Kind(
        "the certificate of %(label)s is not valid; somebody may be listening in",
        "%(label)s 的证书无效，可能有人窃听",
        "find the cause (clock, proxy, network), then restart the engine",
        "请查明原因（时间、代理、网络）后重启引擎",
    ),
    "refused:": Kind(
        "%(label)s refuses several accounts at once: the fault is here, not in their keys",
        "%(label)s 同时拒绝了多个账户：问题在本机，而不在它们的 Key",
        "mend the cause (address, clock, signature), then restart the engine",
        "请排除原因（IP、时间、签名）后重启引擎",
    ),
    "restored": Kind(
        "journal or vault were put back from a backup, or lack what was sent",
        "日志或密钥库是从备份恢复的，或缺少已发送的订单",
        "ends with `copytrade reconcile`",
        "请运行 copytrade reconcile 对账后恢复",
    ),
}

FEED = {
    "engine_started": Kind("the engine has started", "引擎已启动"),
    "accounts_ready": Kind(
        "%(ready)s of %(accounts)s accounts are ready", "%(accounts)s 个账户中已有 %(ready)s 个就绪"
    ),
    "engine_stopped": Kind("the engine has stopped", "引擎已停止"),
    "copies_recovered": Kind(
        "%(count)s copies of an earlier run are being settled", "正在核对上次运行留下的 %(count)s 条跟单"
    ),
    "halt_began": Kind("halted: %(halt)s", "已停机：%(halt)s", "%(halt_remedy)s", "%(halt_remedy)s"),
    "halt_ended": Kind("no longer halted: %(halt)s", "恢复交易：%(halt)s"),
    "plugin_failed": Kind(
        "the plug-in %(name)s does not work[: %(reason)s]",
        "插件 %(name)s 无法工作[：%(reason)s]",
        "mend what it says, or reinstall or remove it, then restart the engine",
        "请按提示修正，或重装／移除该插件，然后重启引擎",
    ),
    "reconciled": Kind(
        "what was restored was reconciled by %(by)s; copying may be started", "%(by)s 已完成恢复后的对账，可以开始跟单"
    ),
    "nothing_missing": Kind(
        "the restored journal lacks no order; copying may be started", "恢复的日志没有缺少订单，可以开始跟单"
    ),
    "copying_started": Kind("copying was started", "跟单已开始"),
    # leader
    "leader_set": Kind("the leader is now %(label)s", "主账户已设为 %(label)s"),
    "leader_not_opened": Kind(
        "the leader cannot be opened: %(reason)s",
        "无法打开主账户：%(reason)s",
        "set the leader anew",
        "请重新设置主账户",
    ),
    "leader_connection_up": Kind("%(connection)s hears the leader", "连接 %(connection)s 已收听主账户"),
    "leader_connection_down": Kind("%(connection)s is down[: %(reason)s]", "连接 %(connection)s 断开"),
    "leader_key_refused": Kind(
        "the leader's key is refused: %(reason)s",
        "主账户的 Key 被拒绝：%(reason)s",
        "set the leader with a good key",
        "请用有效的 Key 重新设置主账户",
    ),
    "leader_key_too_strong": Kind(
        "the leader: %(reason)s",
        "主账户：%(reason)s",
        "make a key that may only read, and set the leader with it",
        "新建一个只读的 Key，并重新设置主账户",
    ),
    "leader_not_heard": Kind(
        "the leader is not heard: no connection to its events is alive",
        "听不到主账户：所有连接都已中断，正在重连",
        "check this machine's network",
        "请检查本机网络",
    ),
    "leader_balance_unexplained": Kind(
        "the leader's balance changed without an event: its orders are being read",
        "主账户余额变化却没有推送，正在读取订单",
    ),
    "leader_balance_contradicted": Kind(
        "the leader's free %(asset)s before order %(order_id)s was taken as %(reckoned)s, later data says %(stated)s",
        "主账户订单 %(order_id)s 之前的可用 %(asset)s 按 %(reckoned)s 计算，但之后的数据显示为 %(stated)s",
        "compare the order with the leader's account on the exchange: its copies may be too large or too small; "
        "put right by hand what they bought or sold",
        "请在交易所核对主账户的这笔订单：跟单数量可能偏大或偏小，请手动买卖修正",
    ),
    "gap_read": Kind(
        "the leader's orders from %(since)s to %(until)s were read: %(found)s had not been heard, "
        "%(copied)s of them were copied, %(missed)s missed",
        "已补读主账户 %(since)s 至 %(until)s 的订单：%(found)s 笔此前没有听到，"
        "其中已跟单 %(copied)s 笔，错过 %(missed)s 笔",
    ),
    "gap_unexplained": Kind(
        "what became of the leader's balance from %(since)s to %(until)s is not explained by its orders: %(amounts)s",
        "主账户 %(since)s 至 %(until)s 的余额变化无法用其订单解释：%(amounts)s",
        "look at the leader's account at the exchange: a deposit, a transfer, or an order of another pair?",
        "请到交易所查看主账户：充值、划转，还是其他交易对的订单？",
    ),
    "not_listening": Kind("the engine was not listening to the leader", "引擎没有在收听主账户"),
    "no_connection": Kind("no connection to the leader's events was alive", "与主账户的所有连接都已中断"),
    "silent_stream": Kind("the leader's balance changed without an event", "主账户余额变化却没有推送"),
    "clock_put_back": Kind("the exchange's clock was put back", "交易所时钟被拨回"),
    "unheard_order": Kind("an order was found that no connection had told of", "找到一笔从未推送的订单"),
    # leader orders
    "order_copied": Kind(
        "the leader's %(side)s of %(filled_base)s %(base)s[, %(share_percent)s %% of the balance before it]",
        "主账户%(side)s %(filled_base)s %(base)s[，占下单前余额的 %(share_percent)s %%]",
    ),
    "order_ignored": Kind(
        "the leader's %(side)s of %(filled_base)s %(base)s is not copied: %(reason)s",
        "主账户%(side)s %(filled_base)s %(base)s，不跟单：%(reason)s",
    ),
    "order_stale": Kind(
        "the leader's %(side)s of %(filled_base)s %(base)s[ (%(pair)s)]"
        "[, %(share_percent)s %% of the balance before it,] was not copied: %(reason)s",
        "主账户%(side)s %(filled_base)s %(base)s[（%(pair)s）]"
        "[，占下单前余额的 %(share_percent)s %%]，没有跟单：%(reason)s",
        "copy it now at the same share, or leave it",
        "可按相同比例立即补跟，或不再处理",
    ),
    "order_undecided": Kind(
        "the leader's %(side)s of %(filled_base)s %(base)s waits for a person: %(reason)s",
        "主账户%(side)s %(filled_base)s %(base)s，待人工处理：%(reason)s",
        "give the share by hand, or leave the order",
        "请人工给出比例，或不再处理",
    ),
    "share_given": Kind("the share of order %(event_id)s was given by %(by)s", "%(by)s 给出了订单 %(event_id)s 的比例"),
    # copies
    "copy_moved": Kind("%(account)s %(side)s %(state)s[: %(reason)s]", "%(account)s %(side)s %(state)s[：%(reason)s]"),
    "copy_undecided": Kind(
        "%(account)s: it could not be found out whether the order was executed",
        "%(account)s：无法查明订单是否已成交，待人工处理",
        "look at the account at the exchange, then settle the copy",
        "请到交易所查看该账户，然后人工处理这条跟单",
    ),
    "copy_doubled": Kind(
        "%(account)s: the first attempt shows at the exchange although it was refused or never left; both may have "
        "been executed",
        "%(account)s：第一次下单曾被拒绝或未发出，但交易所显示了该订单；两次下单可能都已成交",
        "look at the account at the exchange, and sell or buy back what is too much",
        "请到交易所核对该账户，并手动平掉多余部分",
    ),
    "copy_found_late": Kind(
        "an order of %(account)s that seemed never to have arrived was executed after all",
        "%(account)s 一笔曾判定未到达的订单后来成交了",
        "look at the account's balance and the copies after it",
        "请核对该账户的余额以及之后的跟单",
    ),
    "copy_settled": Kind("%(account)s: settled by %(by)s", "%(account)s：%(by)s 已人工处理"),
    "copy_left": Kind("%(account)s: left as it is by %(by)s", "%(account)s：%(by)s 决定不再处理"),
    "copied_now": Kind("%(account)s: copied now, asked by %(by)s", "%(account)s：%(by)s 要求立即补跟"),
    "request_refused": Kind("%(account)s: %(reason)s", "%(account)s：%(reason)s"),
    "address_banned": Kind(
        "%(label)s has shut our address out: nothing is sent there for %(seconds)s s",
        "%(label)s 封禁了本机 IP：%(seconds)s 秒内不向它发送任何请求",
        "wait until the ban ends; see what else uses this address",
        "等待封禁结束，并检查同一 IP 上的其他程序",
    ),
    "clock_jumped": Kind(
        "the clock towards %(label)s jumped by %(jump_ms)s ms",
        "相对 %(label)s 的时间跳变了 %(jump_ms)s 毫秒",
        "have this machine's clock kept by NTP",
        "请开启 NTP 时间同步",
    ),
    # accounts
    "account_added": Kind("the account %(name)s was added", "已添加账户 %(name)s"),
    "account_removed": Kind("the account %(name)s was removed", "已删除账户 %(name)s"),
    "account_paused": Kind("%(name)s was paused", "%(name)s 已暂停"),
    "account_resumed": Kind("%(name)s was resumed", "%(name)s 已恢复"),
    "account_verified": Kind("%(name)s is verified", "%(name)s 验证通过"),
    "account_disabled": Kind(
        "%(name)s was disabled: %(reason)s", "%(name)s 已停用：%(reason)s", "%(reason_remedy)s", "%(reason_remedy)s"
    ),
    "account_not_opened": Kind(
        "the account %(name)s cannot be opened: %(reason)s",
        "无法打开账户 %(name)s：%(reason)s",
        "see `copytrade plugins`, then restart the engine",
        "请用 copytrade plugins 查看插件，然后重启引擎",
    ),
    "account_polled": Kind("%(name)s is polled for now: %(reason)s", "%(name)s 暂时改为轮询余额：%(reason)s"),
}

KEY_WARNINGS = {
    "key_expires": Kind(
        "[%(name)s: ]its key ends in %(days)s days",
        "[%(name)s：]Key 将在 %(days)s 天后到期",
        "make a new key at the exchange and set it",
        "请到交易所新建 Key 并更换",
    ),
    "key_any_address": Kind(
        "its key works from any address",
        "Key 没有绑定 IP，任何地址都能使用",
        "bind the key to this machine's address at the exchange",
        "请到交易所把 Key 绑定到本机 IP",
    ),
    "key_trade_unknown": Kind(
        "the exchange does not say whether the key may trade",
        "交易所没有说明这个 Key 能否交易",
        "check the key's rights at the exchange yourself",
        "请自行到交易所确认 Key 的权限",
    ),
    "key_withdraw_unknown": Kind(
        "the exchange does not say whether the key may withdraw or transfer",
        "交易所没有说明这个 Key 能否提现或划转",
        "check at the exchange that it may only read and trade spot",
        "请自行到交易所确认它只能读取和现货交易",
    ),
    "lead_trader": Kind(
        "the exchange lets its own lead traders place one order a second only",
        "该账户是交易所的带单员，每秒只能下一单",
        "use an account that does not lead at the exchange",
        "请换一个不在交易所带单的账户",
    ),
}

CHECKS = {
    "engine_running": Kind("running since %(since)s", "自 %(since)s 起运行"),
    "engine_halted": Kind(
        "halted[ on %(exchange)s] since %(since)s: %(halt)s",
        "[%(exchange)s ]自 %(since)s 起停机：%(halt)s",
        "ends with %(ends_when)s",
        "%(halt_remedy)s",
    ),
    "settings_fine": Kind("data in %(path)s, trading %(symbol)s", "数据目录 %(path)s，交易对 %(symbol)s"),
    "data_dir_fine": Kind("%(path)s is for its owner alone", "%(path)s 仅所有者可访问"),
    "data_dir_missing": Kind(
        "there is no directory %(path)s",
        "没有目录 %(path)s",
        "make it with `copytrade init`, or name the right one with --data-dir",
        "请运行 copytrade init 创建，或用 --data-dir 指定正确的目录",
    ),
    "data_dir_open": Kind(
        "others can look into %(path)s",
        "其他用户可以访问 %(path)s",
        "chown it to the engine's user and chmod 700 %(path)s",
        "请改为引擎用户所有，并运行 chmod 700 %(path)s",
    ),
    "file_open": Kind(
        "others can read %(path)s", "其他用户可以读取 %(path)s", "chmod 600 %(path)s", "请运行 chmod 600 %(path)s"
    ),
    "files_private": Kind("%(files)s are for their owner alone", "%(files)s 仅所有者可读"),
    "disk_fine": Kind("%(free_mib)s MiB free for %(path)s", "%(path)s 所在磁盘剩余 %(free_mib)s MiB"),
    "disk_low": Kind(
        "only %(free_mib)s MiB free for %(path)s",
        "%(path)s 所在磁盘只剩 %(free_mib)s MiB",
        "make room on that disk: the engine halts when the journal cannot be written",
        "请清理该磁盘：日志写不进去时引擎会停机",
    ),
    "files_fine": Kind("up to %(limit)s open files and sockets", "最多可打开 %(limit)s 个文件与连接"),
    "files_low": Kind(
        "only %(limit)s open files and sockets are allowed; %(accounts)s accounts want %(wanted)s",
        "最多只能打开 %(limit)s 个文件与连接；%(accounts)s 个账户需要 %(wanted)s 个",
        "raise the limit before starting the engine: ulimit -n %(wanted)s, or LimitNOFILE= in its systemd unit",
        "启动引擎前请提高上限：ulimit -n %(wanted)s，或在 systemd 单元中设置 LimitNOFILE=",
    ),
    "master_key_found": Kind("found", "已找到"),
    "vault_opens": Kind("opens; %(accounts)s accounts", "可以打开，共 %(accounts)s 个账户"),
    "journal_fine": Kind("%(path)s, %(size_mib)s MiB", "%(path)s，%(size_mib)s MiB"),
    "plugin_fine": Kind("%(package)s %(version)s", "%(package)s %(version)s"),
    "plugin_broken": Kind(
        "%(error)s",
        "无法工作：%(error)s",
        "mend what it says, or reinstall or remove %(package)s, then restart the engine",
        "请按提示修正，或重装／移除 %(package)s，然后重启引擎",
    ),
    "no_exchange": Kind(
        "no exchange is installed",
        "没有安装任何交易所插件",
        "pip install copytrade-binance",
        "pip install copytrade-binance",
    ),
    "endpoints_overridden": Kind(
        "%(exchange)s %(env)s is replaced by an address on this machine; nothing there is real",
        "%(exchange)s %(env)s 已被替换为本机地址，并非真实交易",
        "unset COPYTRADE_ENDPOINTS to trade on the exchange itself",
        "要在交易所真实交易，请取消 COPYTRADE_ENDPOINTS",
    ),
    "exchange_fine": Kind(
        "reached; its clock and this machine's differ by %(offset_ms)s ms",
        "连接正常；时间与本机相差 %(offset_ms)s 毫秒",
    ),
    "clock_unknown": Kind("its clock has not been measured yet", "尚未测得它的时间"),
    "exchange_failed": Kind(
        "%(reason)s",
        "无法正常连接：%(reason)s",
        "check this machine's connection to %(exchange)s, and its clock",
        "请检查本机到 %(exchange)s 的网络，以及本机时间",
    ),
    "clock_off": Kind(
        "this machine's clock and the one of %(exchange)s differ by %(offset_ms)s ms",
        "本机时间与 %(exchange)s 相差 %(offset_ms)s 毫秒",
        "have this machine's clock kept by NTP (timedatectl set-ntp true)",
        "请开启 NTP 时间同步（timedatectl set-ntp true）",
    ),
    "leader_none": Kind("none is set", "尚未设置", "copytrade leader set", "请运行 copytrade leader set"),
    "leader_heard": Kind(
        "%(exchange)s %(env)s, heard on %(connections)s connections", "%(exchange)s %(env)s，%(connections)s 条连接正常"
    ),
    "leader_failed": Kind(
        "%(exchange)s %(env)s is not heard[: %(reason)s]",
        "听不到 %(exchange)s %(env)s[：%(reason)s]",
        "copytrade leader show; with a new key: copytrade leader set",
        "请运行 copytrade leader show；需要换 Key 时运行 copytrade leader set",
    ),
    "gap_open": Kind(
        "what the leader did since %(since)s is still being read: %(reason)s",
        "正在补读主账户自 %(since)s 起的订单：%(reason)s",
        "wait until it was read; what was missed is shown by copytrade leader gaps",
        "请等待补读完成；错过的订单可用 copytrade leader gaps 查看",
    ),
    "copying_on": Kind("on", "已开始"),
    "copying_off": Kind(
        "stopped: nothing is copied", "已停止，不会跟单", "copytrade copy start", "运行 copytrade copy start 开始跟单"
    ),
    "copies_wait": Kind(
        "%(count)s wait for a person",
        "有 %(count)s 条待人工处理",
        "copytrade copies --state NEEDS_PERSON; copytrade events for orders without a share",
        "请查看 copytrade copies --state NEEDS_PERSON，以及 copytrade events 中没有比例的订单",
    ),
    "accounts_fine": Kind("%(active)s of %(accounts)s take part", "%(accounts)s 个中有 %(active)s 个参与跟单"),
    "account_refused": Kind(
        "%(exchange)s %(env)s: %(reason)s",
        "%(exchange)s %(env)s：%(reason)s",
        "[%(reason_remedy)s: ]copytrade accounts verify %(name)s",
        "[%(reason_remedy)s：]copytrade accounts verify %(name)s",
    ),
    "account_held": Kind(
        "%(exchange)s %(env)s: paused by a person",
        "%(exchange)s %(env)s：已被人工暂停",
        "copytrade accounts resume %(name)s",
        "copytrade accounts resume %(name)s",
    ),
}

EVENTS = HALTS | FEED | KEY_WARNINGS | CHECKS
