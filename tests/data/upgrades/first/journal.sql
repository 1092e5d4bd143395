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
INSERT INTO "attempts" VALUES('5oxekhuoi2oe7rqrhf6g',1,'ctipfp5oxekhuoi2oe7rqrhf6g-1','{"size": "10.00"}','55579b55',1795854163908,200,1795854164408,1795854163909,'accepted','','1002');
INSERT INTO "attempts" VALUES('bl2pi6sqnxzmcgkgwhou',1,'ctipfpbl2pi6sqnxzmcgkgwhou-1','{"size": "10.00"}','809da5f0',1795854163908,200,1795854164408,1795854163909,'accepted','','1001');
INSERT INTO "attempts" VALUES('pgn5i5cdirht5ysoe4p3',1,'ctipfppgn5i5cdirht5ysoe4p3-1','{"size": "0.49910"}','809da5f0',1795854163934,200,1795854164434,1795854163935,'refused','rejected: the exchange refused','');
INSERT INTO "attempts" VALUES('ybtsbpngk7ggb5a42xbq',1,'ctipfpybtsbpngk7ggb5a42xbq-1','{"size": "0.49910"}','55579b55',1795854163934,200,1795854164434,1795854163935,'accepted','','1004');
CREATE TABLE copies (
	id TEXT NOT NULL, 
	leader_order_id INTEGER NOT NULL, 
	account_id TEXT NOT NULL, 
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
	updated_wall_ms BIGINT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT one_copy_per_follower UNIQUE (leader_order_id, account_id), 
	FOREIGN KEY(leader_order_id) REFERENCES leader_orders (id)
);
INSERT INTO "copies" VALUES('5oxekhuoi2oe7rqrhf6g',1,'ffcede55-c42a-4a4c-8cb3-ba1bf6cf386a','anna','memory','test','BUY','FILLED','','','USDT','1000',37,'read','10/1','0.01','10.00','0.0002','10.00','{}','ctipfp5oxekhuoi2oe7rqrhf6g-1','1002',1,'{"planned": 11.39, "sent": 17.76, "accepted": 17.78, "final": 22.72}','',1795854163921);
INSERT INTO "copies" VALUES('bl2pi6sqnxzmcgkgwhou',1,'f6eb28b7-89c5-4346-8174-4d50c98770d2','bela','memory','test','BUY','FILLED','','','USDT','1000',31,'read','10/1','0.01','10.00','0.0002','10.00','{}','ctipfpbl2pi6sqnxzmcgkgwhou-1','1001',1,'{"planned": 11.32, "sent": 17.48, "accepted": 17.53, "final": 17.65}','',1795854163916);
INSERT INTO "copies" VALUES('ybtsbpngk7ggb5a42xbq',2,'ffcede55-c42a-4a4c-8cb3-ba1bf6cf386a','anna','memory','test','SELL','FILLED','','','BTC','1.0002',7,'read','1667/3340','0.00001','0.49910','0.49910','24955.00000','{}','ctipfpybtsbpngk7ggb5a42xbq-1','1004',1,'{"planned": 5.41, "sent": 7.75, "accepted": 7.8, "final": 8.59}','',1795854163938);
INSERT INTO "copies" VALUES('pgn5i5cdirht5ysoe4p3',2,'f6eb28b7-89c5-4346-8174-4d50c98770d2','bela','memory','test','SELL','REJECTED','rejected','the exchange refused','BTC','1.0002',9,'read','1667/3340','0.00001','0.49910','0','0','{}','ctipfppgn5i5cdirht5ysoe4p3-1','',1,'{"planned": 5.36, "sent": 7.71}','',1795854163938);
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
INSERT INTO "feed" VALUES(1,1795854163862,'engine','the engine has started','{}');
INSERT INTO "feed" VALUES(2,1795854163867,'account','the account anna was added','{"account_id": "ffcede55-c42a-4a4c-8cb3-ba1bf6cf386a"}');
INSERT INTO "feed" VALUES(3,1795854163869,'account','anna is verified','{"account_id": "ffcede55-c42a-4a4c-8cb3-ba1bf6cf386a"}');
INSERT INTO "feed" VALUES(4,1795854163874,'account','the account bela was added','{"account_id": "f6eb28b7-89c5-4346-8174-4d50c98770d2"}');
INSERT INTO "feed" VALUES(5,1795854163876,'account','bela is verified','{"account_id": "f6eb28b7-89c5-4346-8174-4d50c98770d2"}');
INSERT INTO "feed" VALUES(6,1795854163883,'leader','the leader is now memory/test','{"exchange": "memory", "env": "test"}');
INSERT INTO "feed" VALUES(7,1795854163887,'leader','leader-a hears the leader','{}');
INSERT INTO "feed" VALUES(8,1795854163888,'leader','leader-b hears the leader','{}');
INSERT INTO "feed" VALUES(9,1795854163898,'copying','copying was started','{"running": true}');
INSERT INTO "feed" VALUES(10,1795854163909,'leader_order','the leader''s BUY of 0.002 BTC, 1.0000% of the balance before it','{"event_id": "1", "state": "COPIED", "reason_kind": ""}');
INSERT INTO "feed" VALUES(11,1795854163925,'copy','bela BUY FILLED','{"copy_id": "bl2pi6sqnxzmcgkgwhou", "event_id": "1", "account_id": "f6eb28b7-89c5-4346-8174-4d50c98770d2", "account": "bela", "side": "BUY", "state": "FILLED", "reason": "", "filled_base": "0.0002", "filled_quote": "10.00"}');
INSERT INTO "feed" VALUES(12,1795854163926,'copy','anna BUY FILLED','{"copy_id": "5oxekhuoi2oe7rqrhf6g", "event_id": "1", "account_id": "ffcede55-c42a-4a4c-8cb3-ba1bf6cf386a", "account": "anna", "side": "BUY", "state": "FILLED", "reason": "", "filled_base": "0.0002", "filled_quote": "10.00"}');
INSERT INTO "feed" VALUES(13,1795854163935,'leader_order','the leader''s SELL of 0.5 BTC, 49.9002% of the balance before it','{"event_id": "2", "state": "COPIED", "reason_kind": ""}');
INSERT INTO "feed" VALUES(14,1795854163938,'copy','bela SELL REJECTED: the exchange refused','{"copy_id": "pgn5i5cdirht5ysoe4p3", "event_id": "2", "account_id": "f6eb28b7-89c5-4346-8174-4d50c98770d2", "account": "bela", "side": "SELL", "state": "REJECTED", "reason": "the exchange refused", "filled_base": null, "filled_quote": null}');
INSERT INTO "feed" VALUES(15,1795854163944,'copy','anna SELL FILLED','{"copy_id": "ybtsbpngk7ggb5a42xbq", "event_id": "2", "account_id": "ffcede55-c42a-4a4c-8cb3-ba1bf6cf386a", "account": "anna", "side": "SELL", "state": "FILLED", "reason": "", "filled_base": "0.49910", "filled_quote": "24955.00000"}');
INSERT INTO "feed" VALUES(16,1795854163951,'engine','the engine has stopped','{}');
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
INSERT INTO "fills" VALUES(1,'bl2pi6sqnxzmcgkgwhou','1001','50000','0.0002','10.00','0','BNB',1795854163916);
INSERT INTO "fills" VALUES(2,'5oxekhuoi2oe7rqrhf6g','1002','50000','0.0002','10.00','0','BNB',1795854163916);
INSERT INTO "fills" VALUES(3,'ybtsbpngk7ggb5a42xbq','1004','50000','0.49910','24955.00000','0','BNB',1795854163938);
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
INSERT INTO "frames" VALUES(1,'memory/test/uid-leader:read:1795854162798:USDT=10000/0,BTC=1/0','memory/test/uid-leader','rest',1795854163889,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "10000", "locked": "0"}, {"asset": "BTC", "free": "1", "locked": "0"}], "time_ms": 1795854162798, "complete": true, "source": "read"}','');
INSERT INTO "frames" VALUES(2,'memory/test/uid-leader:order:BTCUSDT:1000:1795854163898:10000:1795854163898','memory/test/uid-leader','leader-a',1795854163900,'ExecutionReport','{"exchange_order_id": "1000", "client_order_id": "web1000", "exchange_symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "status": "NEW", "execution_id": 10000, "filled_base": "0", "filled_quote": "0", "fill": null, "created_ms": 1795854163898, "transaction_ms": 1795854163898}','{}');
INSERT INTO "frames" VALUES(3,'memory/test/uid-leader:order:BTCUSDT:1000:1795854163898:10001:1795854163898','memory/test/uid-leader','leader-a',1795854163900,'ExecutionReport','{"exchange_order_id": "1000", "client_order_id": "web1000", "exchange_symbol": "BTCUSDT", "side": "BUY", "order_type": "MARKET", "status": "FILLED", "execution_id": 10001, "filled_base": "0.002", "filled_quote": "100", "fill": {"trade_id": "1000", "price": "50000", "base_quantity": "0.002", "quote_amount": "100", "commission": "0", "commission_asset": "BNB", "time_ms": 1795854163898}, "created_ms": 1795854163898, "transaction_ms": 1795854163898}','{}');
INSERT INTO "frames" VALUES(4,'memory/test/uid-leader:pushed:1795854163898:USDT=9900/0,BTC=1.002/0','memory/test/uid-leader','leader-a',1795854163900,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "9900", "locked": "0"}, {"asset": "BTC", "free": "1.002", "locked": "0"}], "time_ms": 1795854163898, "complete": false, "source": "pushed"}','{}');
INSERT INTO "frames" VALUES(5,'memory/test/uid-leader:order:BTCUSDT:1003:1795854163930:10030:1795854163930','memory/test/uid-leader','leader-a',1795854163930,'ExecutionReport','{"exchange_order_id": "1003", "client_order_id": "web1003", "exchange_symbol": "BTCUSDT", "side": "SELL", "order_type": "MARKET", "status": "NEW", "execution_id": 10030, "filled_base": "0", "filled_quote": "0", "fill": null, "created_ms": 1795854163930, "transaction_ms": 1795854163930}','{}');
INSERT INTO "frames" VALUES(6,'memory/test/uid-leader:order:BTCUSDT:1003:1795854163930:10031:1795854163930','memory/test/uid-leader','leader-a',1795854163930,'ExecutionReport','{"exchange_order_id": "1003", "client_order_id": "web1003", "exchange_symbol": "BTCUSDT", "side": "SELL", "order_type": "MARKET", "status": "FILLED", "execution_id": 10031, "filled_base": "0.5", "filled_quote": "25000.0", "fill": {"trade_id": "1003", "price": "50000", "base_quantity": "0.5", "quote_amount": "25000.0", "commission": "0", "commission_asset": "BNB", "time_ms": 1795854163930}, "created_ms": 1795854163930, "transaction_ms": 1795854163930}','{}');
INSERT INTO "frames" VALUES(7,'memory/test/uid-leader:pushed:1795854163930:USDT=34900.0/0,BTC=0.502/0','memory/test/uid-leader','leader-a',1795854163930,'BalanceSnapshot','{"balances": [{"asset": "USDT", "free": "34900.0", "locked": "0"}, {"asset": "BTC", "free": "0.502", "locked": "0"}], "time_ms": 1795854163930, "complete": false, "source": "pushed"}','{}');
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
INSERT INTO "leader_orders" VALUES(1,'memory','test','uid-leader','BTC/USDT','1000',1795854163898,'web1000','BUY','MARKET','FILLED','0.002','100',1795854163898,1795854163905,1795854163897,'live','COPIED','','','USDT','10000','latest','{"latest": "10000", "replayed": "10000", "undone": "10000"}','1/100');
INSERT INTO "leader_orders" VALUES(2,'memory','test','uid-leader','BTC/USDT','1003',1795854163930,'web1003','SELL','MARKET','FILLED','0.5','25000.0',1795854163930,1795854163933,1795854163929,'live','COPIED','','','BTC','1.002','latest','{"latest": "1.002", "replayed": "1.002", "undone": "1.002"}','250/501');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','1');
INSERT INTO "meta" VALUES('owner_epoch','1');
INSERT INTO "meta" VALUES('proof:memory/test/uid-leader','1795854163887');
CREATE INDEX frames_by_time ON frames (leader, received_wall_ms);
CREATE INDEX copies_by_account ON copies (account_id, leader_order_id);
CREATE INDEX copies_by_state ON copies (state);
CREATE INDEX evidence_by_copy ON evidence (copy_id);
COMMIT;
