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
INSERT INTO "attempts" VALUES('oi2q53apbtvsgam2yldv',1,'ct4426oi2q53apbtvsgam2yldv-1','{"size": "10.00"}','bd4803fc',1795854164546,200,1795854165046,1795854164547,'accepted','','1002');
INSERT INTO "attempts" VALUES('z5vlspq6ozdy6bwm6ajz',1,'ct4426z5vlspq6ozdy6bwm6ajz-1','{"size": "10.00"}','dd3791d6',1795854164546,200,1795854165046,1795854164547,'accepted','','1001');
INSERT INTO "attempts" VALUES('n7zwxhfxknqde6bps4ci',1,'ct4426n7zwxhfxknqde6bps4ci-1','{"size": "0.49910"}','bd4803fc',1795854164596,200,1795854165096,1795854164597,'accepted','','1004');
INSERT INTO "attempts" VALUES('pvmptqk6i7jd42f26rih',1,'ct4426pvmptqk6i7jd42f26rih-1','{"size": "0.49910"}','dd3791d6',1795854164596,200,1795854165096,1795854164597,'refused','rejected: the exchange refused','');
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
INSERT INTO "copies" VALUES('oi2q53apbtvsgam2yldv',1,'38d9824b-a051-4912-807b-f57086112fee',1,'anna','memory','test','BUY','FILLED','','','USDT','1000',32,'read','10/1','0.01','10.00','0.0002','10.00','{}','ct4426oi2q53apbtvsgam2yldv-1','1002',1,'{"planned": 12.72, "sent": 17.35, "accepted": 17.38, "final": 17.45}','','',1795854164552);
INSERT INTO "copies" VALUES('z5vlspq6ozdy6bwm6ajz',1,'5b4da4f1-cfac-4594-ac56-90b027200990',1,'bela','memory','test','BUY','FILLED','','','USDT','1000',28,'read','10/1','0.01','10.00','0.0002','10.00','{}','ct4426z5vlspq6ozdy6bwm6ajz-1','1001',1,'{"planned": 12.66, "sent": 16.26, "accepted": 16.31, "final": 16.42}','','',1795854164551);
INSERT INTO "copies" VALUES('n7zwxhfxknqde6bps4ci',2,'38d9824b-a051-4912-807b-f57086112fee',1,'anna','memory','test','SELL','FILLED','','','BTC','1.0002',8,'read','1667/3340','0.00001','0.49910','0.49910','24955.00000','{}','ct4426n7zwxhfxknqde6bps4ci-1','1004',1,'{"planned": 5.27, "sent": 8.85, "accepted": 8.9, "final": 9.09}','','',1795854164601);
INSERT INTO "copies" VALUES('pvmptqk6i7jd42f26rih',2,'5b4da4f1-cfac-4594-ac56-90b027200990',1,'bela','memory','test','SELL','REJECTED','rejected','the exchange refused','BTC','1.0002',8,'read','1667/3340','0.00001','0.49910','0','0','{}','ct4426pvmptqk6i7jd42f26rih-1','',1,'{"planned": 5.17, "sent": 8.81}','','',1795854164601);
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
INSERT INTO "feed" VALUES(1,1795854164506,'engine','the engine has started','{"what": "engine_started"}');
INSERT INTO "feed" VALUES(2,1795854164511,'account','the account anna was added','{"what": "account_added", "name": "anna", "account_id": "38d9824b-a051-4912-807b-f57086112fee"}');
INSERT INTO "feed" VALUES(3,1795854164512,'account','anna is verified','{"what": "account_verified", "name": "anna", "account_id": "38d9824b-a051-4912-807b-f57086112fee"}');
INSERT INTO "feed" VALUES(4,1795854164516,'account','the account bela was added','{"what": "account_added", "name": "bela", "account_id": "5b4da4f1-cfac-4594-ac56-90b027200990"}');
INSERT INTO "feed" VALUES(5,1795854164516,'account','bela is verified','{"what": "account_verified", "name": "bela", "account_id": "5b4da4f1-cfac-4594-ac56-90b027200990"}');
INSERT INTO "feed" VALUES(6,1795854164520,'leader','the leader is now memory/test','{"what": "leader_set", "label": "memory/test", "exchange": "memory", "env": "test"}');
INSERT INTO "feed" VALUES(7,1795854164523,'leader','leader-a hears the leader','{"what": "leader_connection_up", "connection": "leader-a"}');
INSERT INTO "feed" VALUES(8,1795854164523,'leader','leader-b hears the leader','{"what": "leader_connection_up", "connection": "leader-b"}');
INSERT INTO "feed" VALUES(9,1795854164532,'copying','copying was started','{"what": "copying_started", "running": true}');
INSERT INTO "feed" VALUES(10,1795854164546,'leader_order','the leader''s BUY of 0.002 BTC, 1.0000% of the balance before it','{"what": "order_copied", "event_id": "1", "state": "COPIED", "side": "BUY", "filled_base": "0.002", "base": "BTC", "share_percent": "1", "symbol": "BTCUSDT", "order_type": "MARKET", "age_sec": 1795854165, "reason_kind": "", "reason": ""}');
INSERT INTO "feed" VALUES(11,1795854164587,'copy','bela BUY FILLED','{"what": "copy_moved", "copy_id": "z5vlspq6ozdy6bwm6ajz", "event_id": "1", "account_id": "5b4da4f1-cfac-4594-ac56-90b027200990", "account": "bela", "side": "BUY", "state": "FILLED", "reason_kind": "", "reason": "", "computed": null, "asset": "USDT", "filled_base": "0.0002", "filled_quote": "10.00"}');
INSERT INTO "feed" VALUES(12,1795854164588,'copy','anna BUY FILLED','{"what": "copy_moved", "copy_id": "oi2q53apbtvsgam2yldv", "event_id": "1", "account_id": "38d9824b-a051-4912-807b-f57086112fee", "account": "anna", "side": "BUY", "state": "FILLED", "reason_kind": "", "reason": "", "computed": null, "asset": "USDT", "filled_base": "0.0002", "filled_quote": "10.00"}');
INSERT INTO "feed" VALUES(13,1795854164597,'leader_order','the leader''s SELL of 0.5 BTC, 49.9002% of the balance before it','{"what": "order_copied", "event_id": "2", "state": "COPIED", "side": "SELL", "filled_base": "0.5", "base": "BTC", "share_percent": "49.9001", "symbol": "BTCUSDT", "order_type": "MARKET", "age_sec": 1795854165, "reason_kind": "", "reason": ""}');
INSERT INTO "feed" VALUES(14,1795854164601,'copy','bela SELL REJECTED: the exchange refused','{"what": "copy_moved", "copy_id": "pvmptqk6i7jd42f26rih", "event_id": "2", "account_id": "5b4da4f1-cfac-4594-ac56-90b027200990", "account": "bela", "side": "SELL", "state": "REJECTED", "reason_kind": "rejected", "reason": "the exchange refused", "computed": null, "asset": "BTC", "filled_base": null, "filled_quote": null}');
INSERT INTO "feed" VALUES(15,1795854164636,'copy','anna SELL FILLED','{"what": "copy_moved", "copy_id": "n7zwxhfxknqde6bps4ci", "event_id": "2", "account_id": "38d9824b-a051-4912-807b-f57086112fee", "account": "anna", "side": "SELL", "state": "FILLED", "reason_kind": "", "reason": "", "computed": null, "asset": "BTC", "filled_base": "0.49910", "filled_quote": "24955.00000"}');
INSERT INTO "feed" VALUES(16,1795854164644,'engine','the engine has stopped','{"what": "engine_stopped"}');
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
INSERT INTO "fills" VALUES(1,'z5vlspq6ozdy6bwm6ajz','1001','50000','0.0002','10.00','0','BNB',1795854164550);
INSERT INTO "fills" VALUES(2,'oi2q53apbtvsgam2yldv','1002','50000','0.0002','10.00','0','BNB',1795854164551);
INSERT INTO "fills" VALUES(3,'n7zwxhfxknqde6bps4ci','1004','50000','0.49910','24955.00000','0','BNB',1795854164601);
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
INSERT INTO "frames" VALUES(1,'memory/test/uid-leader:read:1795854163471:USDT=10000/0,BTC=1/0','memory/test/uid-leader','rest',1795854164523,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "10000", "locked": "0"}, {"asset": "BTC", "free": "1", "locked": "0"}], "time_ms": 1795854163471, "complete": true, "source": "read"}','');
INSERT INTO "frames" VALUES(2,'memory/test/uid-leader:order:BTCUSDT:1000:1795854164534:10000:1795854164534','memory/test/uid-leader','leader-a',1795854164535,'ExecutionReport','{"exchange_order_id": "1000", "client_order_id": "web1000", "exchange_symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "status": "NEW", "execution_id": 10000, "filled_base": "0", "filled_quote": "0", "fill": null, "created_ms": 1795854164534, "transaction_ms": 1795854164534}','{}');
INSERT INTO "frames" VALUES(3,'memory/test/uid-leader:order:BTCUSDT:1000:1795854164534:10001:1795854164534','memory/test/uid-leader','leader-a',1795854164535,'ExecutionReport','{"exchange_order_id": "1000", "client_order_id": "web1000", "exchange_symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "status": "FILLED", "execution_id": 10001, "filled_base": "0.002", "filled_quote": "100", "fill": {"trade_id": "1000", "price": "50000", "base_quantity": "0.002", "quote_amount": "100", "commission": "0", "commission_asset": "BNB", "time_ms": 1795854164534}, "created_ms": 1795854164534, "transaction_ms": 1795854164534}','{}');
INSERT INTO "frames" VALUES(4,'memory/test/uid-leader:pushed:1795854164534:USDT=9900/0,BTC=1.002/0','memory/test/uid-leader','leader-a',1795854164535,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "9900", "locked": "0"}, {"asset": "BTC", "free": "1.002", "locked": "0"}], "time_ms": 1795854164534, "complete": false, "source": "pushed"}','{}');
INSERT INTO "frames" VALUES(5,'memory/test/uid-leader:order:BTCUSDT:1003:1795854164592:10030:1795854164592','memory/test/uid-leader','leader-a',1795854164593,'ExecutionReport','{"exchange_order_id": "1003", "client_order_id": "web1003", "exchange_symbol": "BTCUSDT", "side": "SELL", "order_type": "MARKET", "status": "NEW", "execution_id": 10030, "filled_base": "0", "filled_quote": "0", "fill": null, "created_ms": 1795854164592, "transaction_ms": 1795854164592}','{}');
INSERT INTO "frames" VALUES(6,'memory/test/uid-leader:order:BTCUSDT:1003:1795854164592:10031:1795854164592','memory/test/uid-leader','leader-a',1795854164593,'ExecutionReport','{"exchange_order_id": "1003", "client_order_id": "web1003", "exchange_symbol": "BTCUSDT", "side": "SELL", "order_type": "MARKET", "status": "FILLED", "execution_id": 10031, "filled_base": "0.5", "filled_quote": "25000.0", "fill": {"trade_id": "1003", "price": "50000", "base_quantity": "0.5", "quote_amount": "25000.0", "commission": "0", "commission_asset": "BNB", "time_ms": 1795854164592}, "created_ms": 1795854164592, "transaction_ms": 1795854164592}','{}');
INSERT INTO "frames" VALUES(7,'memory/test/uid-leader:pushed:1795854164592:USDT=34900.0/0,BTC=0.502/0','memory/test/uid-leader','leader-a',1795854164593,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "34900.0", "locked": "0"}, {"asset": "BTC", "free": "0.502", "locked": "0"}], "time_ms": 1795854164592, "complete": false, "source": "pushed"}','{}');
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
	share TEXT, 
	PRIMARY KEY (id), 
	CONSTRAINT leader_order_once UNIQUE (exchange, env, leader_uid, symbol, order_id, created_ms)
);
INSERT INTO "leader_orders" VALUES(1,'memory','test','uid-leader','BTC/USDT','1000',1795854164534,'web1000','BUY','MARKET','FILLED','0.002','100',1795854164534,1795854164541,1795854164534,'live','COPIED','','','USDT','10000','latest','{"latest": "10000", "replayed": "10000", "undone": "10000"}','1/100');
INSERT INTO "leader_orders" VALUES(2,'memory','test','uid-leader','BTC/USDT','1003',1795854164592,'web1003','SELL','MARKET','FILLED','0.5','25000.0',1795854164592,1795854164595,1795854164591,'live','COPIED','','','BTC','1.002','latest','{"latest": "1.002", "replayed": "1.002", "undone": "1.002"}','250/501');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','1');
INSERT INTO "meta" VALUES('owner_epoch','1');
INSERT INTO "meta" VALUES('vault_revision','7');
INSERT INTO "meta" VALUES('proof:memory/test/uid-leader','1795854164522');
CREATE INDEX frames_by_time ON frames (leader, received_wall_ms);
CREATE INDEX copies_by_account ON copies (account_id, leader_order_id);
CREATE INDEX copies_by_state ON copies (state);
CREATE INDEX evidence_by_copy ON evidence (copy_id);
COMMIT;
