-- People at work may see how far the schema is; `status` compares it with what the program knows.
GRANT SELECT ON _sqlx_migrations TO blueteam_engine, blueteam_reader, blueteam_admin;
