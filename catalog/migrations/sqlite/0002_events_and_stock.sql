-- Events by id, stock, and a history that is loaded beside them.

-- A customer's number is what `history` names them by: an id of 64 letters a purchase would be most of the file.
ALTER TABLE customers RENAME TO customers_before;
ALTER TABLE interactions RENAME TO interactions_before;

CREATE TABLE customers (
    customer_key           INTEGER NOT NULL PRIMARY KEY,
    customer_id            TEXT NOT NULL UNIQUE,
    age                    REAL,            -- years; NULL where unknown: the server then takes its bundle's default
    club_member_status     TEXT NOT NULL,
    fashion_news_frequency TEXT NOT NULL
);

-- What customers bought before, as it was loaded: each load replaces all of it. Everything of one customer is one range.
CREATE TABLE history (
    customer_key INTEGER NOT NULL,
    article_id   TEXT NOT NULL,
    bought_on    TEXT NOT NULL,             -- a day, ISO 8601
    PRIMARY KEY (customer_key, article_id, bought_on)
) WITHOUT ROWID;

-- What customers and visitors do, an event a row. Whoever sells may write here too; servers read it anew for each request.
-- Times are UTC, ISO 8601, as text: they sort as they are.
CREATE TABLE interactions (
    event_id    TEXT NOT NULL,
    source      TEXT NOT NULL DEFAULT '',   -- who made the id; an event is known by both
    customer_id TEXT NOT NULL,              -- a customer's or a visitor's
    visitor     INTEGER NOT NULL DEFAULT 0 CHECK (visitor IN (0, 1)),
    kind        TEXT NOT NULL CHECK (kind IN ('shown', 'click', 'purchase', 'dismiss')),
    article_id  TEXT NOT NULL,
    list_id     TEXT,                       -- the list that the article was in
    occurred_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    UNIQUE (source, event_id)
);

-- The purchases of one customer are one range of it, newest first, and nothing else need be read.
CREATE INDEX interactions_of_customer ON interactions (customer_id, kind, occurred_at DESC, article_id);
CREATE INDEX interactions_by_age ON interactions (recorded_at);

-- An article without a row is in stock.
CREATE TABLE stock (
    article_id TEXT NOT NULL PRIMARY KEY,
    quantity   INTEGER NOT NULL CHECK (quantity >= 0)
) WITHOUT ROWID;

-- The last change of each article, kept by the triggers below. A version is never used twice, so a reader that has seen all up to one
-- asks for what is above it.
CREATE TABLE stock_changes (
    version      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    article_id   TEXT NOT NULL UNIQUE,
    out_of_stock INTEGER NOT NULL
);

CREATE TRIGGER stock_inserted AFTER INSERT ON stock
WHEN new.quantity = 0 OR EXISTS (SELECT 1 FROM stock_changes WHERE article_id = new.article_id)
BEGIN
    DELETE FROM stock_changes WHERE article_id = new.article_id;
    INSERT INTO stock_changes (article_id, out_of_stock) VALUES (new.article_id, new.quantity = 0);
END;

CREATE TRIGGER stock_updated AFTER UPDATE ON stock
WHEN (new.quantity = 0) <> (old.quantity = 0) OR new.article_id <> old.article_id
BEGIN
    DELETE FROM stock_changes WHERE article_id IN (old.article_id, new.article_id);
    INSERT INTO stock_changes (article_id, out_of_stock) SELECT old.article_id, 0 WHERE new.article_id <> old.article_id;
    INSERT INTO stock_changes (article_id, out_of_stock) VALUES (new.article_id, new.quantity = 0);
END;

CREATE TRIGGER stock_deleted AFTER DELETE ON stock
WHEN old.quantity = 0
BEGIN
    DELETE FROM stock_changes WHERE article_id = old.article_id;
    INSERT INTO stock_changes (article_id, out_of_stock) VALUES (old.article_id, 0);
END;

-- Customers who were erased, by the SHA-256 of their id in hexadecimal: a load leaves them out.
CREATE TABLE forgotten (
    customer_digest TEXT NOT NULL PRIMARY KEY,
    forgotten_at    TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
) WITHOUT ROWID;

-- How far a load has come, so that one that was broken off goes on where it was.
CREATE TABLE load_progress (
    step   TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL,                   -- of what is being loaded
    rows   INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO customers (customer_id, age, club_member_status, fashion_news_frequency)
SELECT customer_id, age, club_member_status, fashion_news_frequency FROM customers_before ORDER BY customer_id;

INSERT INTO history (customer_key, article_id, bought_on)
SELECT DISTINCT customers.customer_key, interactions_before.article_id, substr(interactions_before.occurred_at, 1, 10)
FROM interactions_before JOIN customers USING (customer_id)
WHERE interactions_before.source = 'history' AND interactions_before.kind = 'purchase'
ORDER BY 1, 2, 3;

INSERT INTO interactions (event_id, source, customer_id, kind, article_id, occurred_at)
SELECT customer_id || '/' || kind || '/' || article_id || '/' || occurred_at, source, customer_id, kind, article_id, occurred_at
FROM interactions_before
WHERE source <> 'history' OR kind <> 'purchase';

DROP TABLE interactions_before;
DROP TABLE customers_before;
