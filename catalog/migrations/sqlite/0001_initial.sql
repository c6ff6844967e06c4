-- Customers and what they did. Times are UTC, ISO 8601, as text: they sort as they are.

CREATE TABLE customers (
    customer_id            TEXT NOT NULL PRIMARY KEY,
    age                    REAL,            -- years; NULL where unknown: the server then takes its bundle's default
    club_member_status     TEXT NOT NULL,
    fashion_news_frequency TEXT NOT NULL
) WITHOUT ROWID;

-- The primary key is both what makes a repeated event one row, and the index: everything that a customer purchased is
-- one range of it (customer_id, kind), and it holds the article ids, so nothing else is read.
CREATE TABLE interactions (
    customer_id TEXT NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('shown', 'click', 'purchase', 'dismiss')),
    article_id  TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    source      TEXT NOT NULL,              -- who says so: 'history' (loaded), or the ranker that had shown the article
    PRIMARY KEY (customer_id, kind, article_id, occurred_at, source)
) WITHOUT ROWID;
