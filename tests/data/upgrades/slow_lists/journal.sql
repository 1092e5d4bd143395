BEGIN TRANSACTION;
CREATE TABLE attempts (
	copy_id TEXT NOT NULL, 
	n INTEGER NOT NULL, 
	client_order_id TEXT NOT NULL, 
	body JSON NOT NULL, 
	key_fingerprint TEXT NOT NULL, 
	timestamp_ms BIGINT NOT NULL, 
	recv_window_ms BIGINT NOT NULL, 
	fence_ms BIGINT NOT NULL, 
	claimed_wall_ms BIGINT NOT NULL, 
	outcome TEXT NOT NULL, 
	answer TEXT NOT NULL, 
	exchange_order_id TEXT NOT NULL, 
	PRIMARY KEY (copy_id, n), 
	FOREIGN KEY(copy_id) REFERENCES copies (id), 
	UNIQUE (client_order_id)
);
INSERT INTO "attempts" VALUES('6vtb5igtdfant5ug4d2h',1,'ctbuib6vtb5igtdfant5ug4d2h-1','{"size": "10.00"}','dd3791d6',1795854756420,200,1795854756920,1795854756421,'accepted','','1001');
INSERT INTO "attempts" VALUES('lhmnesbwcmxny7dq2zfg',1,'ctbuiblhmnesbwcmxny7dq2zfg-1','{"size": "10.00"}','bd4803fc',1795854756421,200,1795854756921,1795854756421,'accepted','','1002');
INSERT INTO "attempts" VALUES('auemjxudtdp5wkukwpue',1,'ctbuibauemjxudtdp5wkukwpue-1','{"size": "0.49910"}','bd4803fc',1795854756479,200,1795854756979,1795854756479,'accepted','','1004');
INSERT INTO "attempts" VALUES('rm7wwy6f26mv6chdqoic',1,'ctbuibrm7wwy6f26mv6chdqoic-1','{"size": "0.49910"}','dd3791d6',1795854756479,200,1795854756979,1795854756479,'refused','rejected: the exchange refused','');
CREATE TABLE copies (
	id TEXT NOT NULL, 
	leader_order_id INTEGER NOT NULL, 
	account_id TEXT NOT NULL, 
	ordinal INTEGER NOT NULL, 
	account_name TEXT NOT NULL, 
	exchange TEXT NOT NULL, 
	env TEXT NOT NULL, 
	side TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason_kind TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	size_asset TEXT NOT NULL, 
	free_before TEXT, 
	balance_age_ms BIGINT, 
	balance_source TEXT NOT NULL, 
	computed TEXT, 
	step TEXT, 
	sent TEXT, 
	filled_base TEXT NOT NULL, 
	filled_quote TEXT NOT NULL, 
	commissions JSON NOT NULL, 
	client_order_id TEXT NOT NULL, 
	exchange_order_id TEXT NOT NULL, 
	attempts INTEGER NOT NULL, 
	latency_ms JSON NOT NULL, 
	asked_by TEXT NOT NULL, 
	decided_by TEXT NOT NULL, 
	updated_wall_ms BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_copy_per_follower UNIQUE (leader_order_id, account_id, ordinal), 
	FOREIGN KEY(leader_order_id) REFERENCES leader_orders (id)
);
INSERT INTO "copies" VALUES('lhmnesbwcmxny7dq2zfg',1,'8cd24866-9b8c-41b8-a7d4-94804c6f3fab',1,'anna','memory','test','BUY','FILLED','','','USDT','1000',69,'read','10/1','0.01','10.00','0.0002','10.00','{}','ctbuiblhmnesbwcmxny7dq2zfg-1','1002',1,'{"planned": 17.01, "sent": 28.01, "accepted": 28.04, "final": 28.09}','','',1795854756432);
INSERT INTO "copies" VALUES('6vtb5igtdfant5ug4d2h',1,'e747a8a0-8756-4c7c-ac6b-42108f2214af',1,'bela','memory','test','BUY','FILLED','','','USDT','1000',59,'read','10/1','0.01','10.00','0.0002','10.00','{}','ctbuib6vtb5igtdfant5ug4d2h-1','1001',1,'{"planned": 16.91, "sent": 27.65, "accepted": 27.75, "final": 27.86}','','',1795854756432);
INSERT INTO "copies" VALUES('auemjxudtdp5wkukwpue',2,'8cd24866-9b8c-41b8-a7d4-94804c6f3fab',1,'anna','memory','test','SELL','FILLED','','','BTC','1.0002',5,'read','1667/3340','0.00001','0.49910','0.49910','24955.00000','{}','ctbuibauemjxudtdp5wkukwpue-1','1004',1,'{"planned": 4.93, "sent": 6.61, "accepted": 6.64, "final": 7.3}','','',1795854756482);
INSERT INTO "copies" VALUES('rm7wwy6f26mv6chdqoic',2,'e747a8a0-8756-4c7c-ac6b-42108f2214af',1,'bela','memory','test','SELL','REJECTED','rejected','the exchange refused','BTC','1.0002',5,'read','1667/3340','0.00001','0.49910','0','0','{}','ctbuibrm7wwy6f26mv6chdqoic-1','',1,'{"planned": 4.83, "sent": 6.57}','','',1795854756481);
CREATE TABLE evidence (
	id INTEGER NOT NULL, 
	copy_id TEXT NOT NULL, 
	wall_ms BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	text TEXT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(copy_id) REFERENCES copies (id)
);
CREATE TABLE feed (
	seq INTEGER NOT NULL, 
	wall_ms BIGINT NOT NULL, 
	kind TEXT NOT NULL, 
	text TEXT NOT NULL, 
	data JSON NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "feed" VALUES(1,1795854756331,'engine','the engine has started','{"what": "engine_started"}');
INSERT INTO "feed" VALUES(2,1795854756342,'account','the account anna was added','{"what": "account_added", "name": "anna", "account_id": "8cd24866-9b8c-41b8-a7d4-94804c6f3fab"}');
INSERT INTO "feed" VALUES(3,1795854756344,'account','anna is verified','{"what": "account_verified", "name": "anna", "account_id": "8cd24866-9b8c-41b8-a7d4-94804c6f3fab"}');
INSERT INTO "feed" VALUES(4,1795854756358,'account','the account bela was added','{"what": "account_added", "name": "bela", "account_id": "e747a8a0-8756-4c7c-ac6b-42108f2214af"}');
INSERT INTO "feed" VALUES(5,1795854756359,'account','bela is verified','{"what": "account_verified", "name": "bela", "account_id": "e747a8a0-8756-4c7c-ac6b-42108f2214af"}');
INSERT INTO "feed" VALUES(6,1795854756363,'leader','the leader is now memory/test','{"what": "leader_set", "label": "memory/test", "exchange": "memory", "env": "test"}');
INSERT INTO "feed" VALUES(7,1795854756380,'leader','leader-a hears the leader','{"what": "leader_connection_up", "connection": "leader-a"}');
INSERT INTO "feed" VALUES(8,1795854756381,'leader','leader-b hears the leader','{"what": "leader_connection_up", "connection": "leader-b"}');
INSERT INTO "feed" VALUES(9,1795854756404,'copying','copying was started','{"what": "copying_started", "running": true}');
INSERT INTO "feed" VALUES(10,1795854756419,'leader_order','the leader''s BUY of 0.002 BTC, 1.0000% of the balance before it','{"what": "order_copied", "event_id": "1", "state": "COPIED", "side": "BUY", "filled_base": "0.002", "base": "BTC", "share_percent": "1", "symbol": "BTCUSDT", "order_type": "MARKET", "age_sec": 1795854756, "reason_kind": "", "reason": ""}');
INSERT INTO "feed" VALUES(11,1795854756473,'copy','bela BUY FILLED','{"what": "copy_moved", "copy_id": "6vtb5igtdfant5ug4d2h", "event_id": "1", "account_id": "e747a8a0-8756-4c7c-ac6b-42108f2214af", "account": "bela", "side": "BUY", "state": "FILLED", "reason_kind": "", "reason": "", "filled_base": "0.0002", "filled_quote": "10.00"}');
INSERT INTO "feed" VALUES(12,1795854756473,'copy','anna BUY FILLED','{"what": "copy_moved", "copy_id": "lhmnesbwcmxny7dq2zfg", "event_id": "1", "account_id": "8cd24866-9b8c-41b8-a7d4-94804c6f3fab", "account": "anna", "side": "BUY", "state": "FILLED", "reason_kind": "", "reason": "", "filled_base": "0.0002", "filled_quote": "10.00"}');
INSERT INTO "feed" VALUES(13,1795854756479,'leader_order','the leader''s SELL of 0.5 BTC, 49.9002% of the balance before it','{"what": "order_copied", "event_id": "2", "state": "COPIED", "side": "SELL", "filled_base": "0.5", "base": "BTC", "share_percent": "49.9001", "symbol": "BTCUSDT", "order_type": "MARKET", "age_sec": 1795854756, "reason_kind": "", "reason": ""}');
INSERT INTO "feed" VALUES(14,1795854756481,'copy','bela SELL REJECTED: the exchange refused','{"what": "copy_moved", "copy_id": "rm7wwy6f26mv6chdqoic", "event_id": "2", "account_id": "e747a8a0-8756-4c7c-ac6b-42108f2214af", "account": "bela", "side": "SELL", "state": "REJECTED", "reason_kind": "rejected", "reason": "the exchange refused", "filled_base": null, "filled_quote": null}');
INSERT INTO "feed" VALUES(15,1795854756517,'copy','anna SELL FILLED','{"what": "copy_moved", "copy_id": "auemjxudtdp5wkukwpue", "event_id": "2", "account_id": "8cd24866-9b8c-41b8-a7d4-94804c6f3fab", "account": "anna", "side": "SELL", "state": "FILLED", "reason_kind": "", "reason": "", "filled_base": "0.49910", "filled_quote": "24955.00000"}');
INSERT INTO "feed" VALUES(16,1795854756521,'engine','the engine has stopped','{"what": "engine_stopped"}');
CREATE TABLE fills (
	id INTEGER NOT NULL, 
	copy_id TEXT NOT NULL, 
	trade_id TEXT NOT NULL, 
	price TEXT NOT NULL, 
	base_quantity TEXT NOT NULL, 
	quote_amount TEXT NOT NULL, 
	commission TEXT NOT NULL, 
	commission_asset TEXT NOT NULL, 
	time_ms BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT fill_once UNIQUE (copy_id, trade_id), 
	FOREIGN KEY(copy_id) REFERENCES copies (id)
);
INSERT INTO "fills" VALUES(1,'6vtb5igtdfant5ug4d2h','1001','50000','0.0002','10.00','0','BNB',1795854756432);
INSERT INTO "fills" VALUES(2,'lhmnesbwcmxny7dq2zfg','1002','50000','0.0002','10.00','0','BNB',1795854756432);
INSERT INTO "fills" VALUES(3,'auemjxudtdp5wkukwpue','1004','50000','0.49910','24955.00000','0','BNB',1795854756481);
CREATE TABLE frames (
	id INTEGER NOT NULL, 
	dedupe_key TEXT, 
	leader TEXT NOT NULL, 
	connection TEXT NOT NULL, 
	received_wall_ms BIGINT NOT NULL, 
	event_type TEXT NOT NULL, 
	event JSON NOT NULL, 
	raw TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (dedupe_key)
);
INSERT INTO "frames" VALUES(1,'memory/test/uid-leader:read:1795854755284:USDT=10000/0,BTC=1/0','memory/test/uid-leader','rest',1795854756381,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "10000", "locked": "0"}, {"asset": "BTC", "free": "1", "locked": "0"}], "time_ms": 1795854755284, "complete": true, "source": "read"}','');
INSERT INTO "frames" VALUES(2,'memory/test/uid-leader:order:BTCUSDT:1000:1795854756404:10000:1795854756404','memory/test/uid-leader','leader-a',1795854756406,'ExecutionReport','{"exchange_order_id": "1000", "client_order_id": "web1000", "exchange_symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "status": "NEW", "execution_id": 10000, "filled_base": "0", "filled_quote": "0", "fill": null, "created_ms": 1795854756404, "transaction_ms": 1795854756404}','{}');
INSERT INTO "frames" VALUES(3,'memory/test/uid-leader:order:BTCUSDT:1000:1795854756404:10001:1795854756404','memory/test/uid-leader','leader-a',1795854756406,'ExecutionReport','{"exchange_order_id": "1000", "client_order_id": "web1000", "exchange_symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "status": "FILLED", "execution_id": 10001, "filled_base": "0.002", "filled_quote": "100", "fill": {"trade_id": "1000", "price": "50000", "base_quantity": "0.002", "quote_amount": "100", "commission": "0", "commission_asset": "BNB", "time_ms": 1795854756404}, "created_ms": 1795854756404, "transaction_ms": 1795854756404}','{}');
INSERT INTO "frames" VALUES(4,'memory/test/uid-leader:pushed:1795854756404:USDT=9900/0,BTC=1.002/0','memory/test/uid-leader','leader-a',1795854756406,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "9900", "locked": "0"}, {"asset": "BTC", "free": "1.002", "locked": "0"}], "time_ms": 1795854756404, "complete": false, "source": "pushed"}','{}');
INSERT INTO "frames" VALUES(5,'memory/test/uid-leader:order:BTCUSDT:1003:1795854756474:10030:1795854756474','memory/test/uid-leader','leader-a',1795854756475,'ExecutionReport','{"exchange_order_id": "1003", "client_order_id": "web1003", "exchange_symbol": "BTCUSDT", "side": "SELL", "order_type": "MARKET", "status": "NEW", "execution_id": 10030, "filled_base": "0", "filled_quote": "0", "fill": null, "created_ms": 1795854756474, "transaction_ms": 1795854756474}','{}');
INSERT INTO "frames" VALUES(6,'memory/test/uid-leader:order:BTCUSDT:1003:1795854756474:10031:1795854756474','memory/test/uid-leader','leader-a',1795854756475,'ExecutionReport','{"exchange_order_id": "1003", "client_order_id": "web1003", "exchange_symbol": "BTCUSDT", "side": "SELL", "order_type": "MARKET", "status": "FILLED", "execution_id": 10031, "filled_base": "0.5", "filled_quote": "25000.0", "fill": {"trade_id": "1003", "price": "50000", "base_quantity": "0.5", "quote_amount": "25000.0", "commission": "0", "commission_asset": "BNB", "time_ms": 1795854756474}, "created_ms": 1795854756474, "transaction_ms": 1795854756474}','{}');
INSERT INTO "frames" VALUES(7,'memory/test/uid-leader:pushed:1795854756474:USDT=34900.0/0,BTC=0.502/0','memory/test/uid-leader','leader-a',1795854756475,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "34900.0", "locked": "0"}, {"asset": "BTC", "free": "0.502", "locked": "0"}], "time_ms": 1795854756474, "complete": false, "source": "pushed"}','{}');
CREATE TABLE gaps (
    id INTEGER NOT NULL,
    exchange TEXT NOT NULL,
    env TEXT NOT NULL,
    leader_uid TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    to_ms BIGINT,
    reason_kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL,
    unexplained JSON NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE leader_orders (
	id INTEGER NOT NULL, 
	exchange TEXT NOT NULL, 
	env TEXT NOT NULL, 
	leader_uid TEXT NOT NULL, 
	symbol TEXT NOT NULL, 
	order_id TEXT NOT NULL, 
	created_ms BIGINT NOT NULL, 
	client_order_id TEXT NOT NULL, 
	side TEXT NOT NULL, 
	order_type TEXT NOT NULL, 
	status TEXT NOT NULL, 
	filled_base TEXT NOT NULL, 
	filled_quote TEXT NOT NULL, 
	transaction_ms BIGINT NOT NULL, 
	heard_wall_ms BIGINT NOT NULL, 
	heard_exchange_ms BIGINT, 
	source TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason_kind TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	balance_asset TEXT NOT NULL, 
	balance_before TEXT, 
	balance_how TEXT NOT NULL, 
	estimates JSON NOT NULL, 
	share TEXT, gap_id INTEGER REFERENCES gaps (id), 
	PRIMARY KEY (id), 
	CONSTRAINT leader_order_once UNIQUE (exchange, env, leader_uid, symbol, order_id, created_ms)
);
INSERT INTO "leader_orders" VALUES(1,'memory','test','uid-leader','BTC/USDT','1000',1795854756404,'web1000','BUY','MARKET','FILLED','0.002','100',1795854756404,1795854756413,1795854756404,'live','COPIED','','','USDT','10000','latest','{"latest": "10000", "replayed": "10000", "undone": "10000"}','1/100',NULL);
INSERT INTO "leader_orders" VALUES(2,'memory','test','uid-leader','BTC/USDT','1003',1795854756474,'web1003','SELL','MARKET','FILLED','0.5','25000.0',1795854756474,1795854756477,1795854756475,'live','COPIED','','','BTC','1.002','latest','{"latest": "1.002", "replayed": "1.002", "undone": "1.002"}','250/501',NULL);
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','3');
INSERT INTO "meta" VALUES('owner_epoch','2');
INSERT INTO "meta" VALUES('vault_revision','7');
INSERT INTO "meta" VALUES('proof:memory/test/uid-leader','1795854756380');
CREATE INDEX frames_by_time ON frames (leader, received_wall_ms);
CREATE INDEX copies_by_account ON copies (account_id, leader_order_id);
CREATE INDEX copies_by_state ON copies (state);
CREATE INDEX evidence_by_copy ON evidence (copy_id);
CREATE INDEX open_gaps ON gaps (outcome);
CREATE INDEX leader_orders_by_gap ON leader_orders (gap_id);
COMMIT;
