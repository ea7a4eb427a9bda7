<?php
/**
 * Audit events of a PHP application into PostgreSQL: NIST SP 800-171 3.3.1, 3.3.2. One file; PHP
 * 8.2 or newer with pgsql, pdo_pgsql and sockets (Debian: php-pgsql has the first two, php-common
 * the third).
 *
 *     AuditLogger::log(AuditLogger::CAT_AUTH, 'login_failed', 'failure', null, ['username' => $name]);
 *
 * It never throws into the page and never fails it. An event that the database does not take is appended to a spool file (a line
 * of JSON, as `POST /v1/events` takes it) and told in PHP's error log; when the database is back, the spool is brought in. Id
 * and time are chosen here, so bringing an event in twice changes nothing.
 *
 * A page waits for the database for two seconds at most (see WAIT), also when the server is
 * reachable and does not answer; then, for RETRY seconds at a time, all workers write to the spool
 * only, and one of them tries. From cron, or by hand:
 *
 *     php AuditLogger.php     brings the whole spool in; exit code 0: all is in, 1: lines were set aside, 2: lines are left
 *
 * Settings, from the environment or AuditLogger::configure([...]) (README.md tells of them):
 *   AUDIT_DSN              pgsql:host=/run/postgresql;dbname=eqmon      AUDIT_DB_USER, AUDIT_DB_PASSWORD
 *   AUDIT_SPOOL            /var/spool/audit/events.ndjson: a file in a folder that PHP may write and no browser may read
 *   AUDIT_TRUSTED_PROXIES  10.0.0.5,10.0.0.6: whose X-Forwarded-For is believed
 */
declare(strict_types=1);

final class AuditLogger
{
    public const CAT_AUTH = 'auth';     // 3.3.1, 3.5.x
    public const CAT_ACCESS = 'access'; // 3.1.x, 3.3.2
    public const CAT_ADMIN = 'admin';   // 3.1.7, 3.3.2
    public const CAT_DATA = 'data';     // 3.1.3 (CUI flow)
    public const CAT_AI = 'ai';         // AI-specific events
    public const CAT_SYSTEM = 'system'; // 3.14.x

    /** The actions of the design, by category. Others may be used; the detection rules know these. */
    public const ACTIONS = [
        'auth' => ['login', 'logout', 'login_failed', 'password_change', 'password_reset', 'mfa_challenge', 'impersonation_start', 'impersonation_end'],
        'access' => ['api_request', 'page_view', 'data_query', 'file_download', 'file_upload'],
        'admin' => ['user_create', 'user_delete', 'user_deactivate', 'role_change', 'settings_change', 'affiliation_change'],
        'data' => ['bearing_view', 'chat_message', 'chat_response', 'export_data', 'report_generate'],
        'ai' => ['chat_request', 'chat_response_filtered', 'guardrail_triggered', 'jailbreak_detected'],
        'system' => ['rate_limit_hit', 'validation_failure', 'error_500', 'session_expired', 'audit_failure'],
    ];

    private const COLUMNS = ['event_id', 'timestamp', 'category', 'action', 'result', 'user_id', 'session_id', 'ip_address',
        'user_agent', 'resource_type', 'resource_id', 'instance_id', 'cui_accessed', 'metadata'];
    private const UUID = '/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iD';
    private const SPOOL_MAX = 64 * 1024 * 1024; // bytes; beyond, events are lost, and the error log says so
    private const METADATA_MAX = 60 * 1024;     // bytes of JSON
    private const METADATA_DEPTH = 16;          // levels; what lies deeper is left out
    private const METADATA_ITEMS = 2000;        // values; a page does not wait for more
    private const TEXTS_MAX = [16384, 1024, 256]; // bytes that each text keeps, tried until the metadata fits
    private const RULE_KEYS = ['username', 'email', 'role', 'home_instance_id', 'bytes', 'as_given']; // what the rules need comes first
    private const LINE_MAX = 128 * 1024;        // bytes of a spooled line; a socket takes that much without an answer
    private const RETRY = 4;                    // seconds without another attempt after one that failed
    private const WAIT = 2.0;                   // seconds that an answer of the database may take
    private const DRAIN = 5.0;                  // seconds that bringing lines in may add to the end of a page
    private const FRESH = 10.0;                 // seconds for which an accepted event shows that the table takes events

    // What a failed insert says of the event: nothing, the database is unreachable; perhaps
    // something; that it cannot be stored.
    private const LATER = 0;
    private const UNCLEAR = 1;
    private const REFUSED = 2;

    private static array $settings = [];
    private static array $context = [];
    private static ?PDO $pdo = null;
    private static ?PDOStatement $insert = null;
    private static mixed $link = null; // PgSql\Connection
    private static bool $draining = false;
    private static bool $quiet = false;
    private static float $accepted = 0.0; // when the table took (or judged) an event last
    private static int $away = 0;         // the mark, for where no file can be written
    private static string $warning = '';  // PHP's last

    /** Settings that win over the environment: dsn, db_user, db_password, spool, trusted_proxies. */
    public static function configure(array $settings): void
    {
        self::$settings = $settings;
        self::$away = 0;
        self::disconnect();
    }

    /** What holds for the rest of this request: session_id (a name of it, never the token), instance_id, role … */
    public static function context(array $context): void
    {
        self::$context = $context + self::$context;
    }

    /**
     * Tells of an event. Of the metadata, session_id, ip_address, user_agent, resource_type, resource_id and instance_id become columns; the
     * rules use username, email, role, home_instance_id and bytes.
     */
    public static function log(
        string $category,
        string $action,
        string $result, // 'success' | 'failure' | 'denied'
        ?string $userId,
        array $metadata = [],
        bool $cuiAccessed = false
    ): void {
        self::keepWarnings();
        try {
            $event = self::event($category, $action, $result, $userId, $metadata + self::$context, $cuiAccessed);
            self::write($event);
        } catch (Throwable $e) {
            self::say($e, 'event lost');
        } finally {
            restore_error_handler();
        }
    }

    /**
     * Brings lines of the spool into the database: by itself after an outage, or from cron. Returns
     * how many were looked at; 0 when there are none, or when the database does not take them now.
     * A line that it never takes is set aside in the file `….refused` (see status()).
     */
    public static function drain(int $most = 200): int
    {
        return self::bringIn($most, INF);
    }

    /** Brings in all there is, for cron. Returns 0: all is in; 1: lines were set aside, now or before; 2: lines are left. */
    public static function drainAll(): int
    {
        while (self::drain() > 0);
        $status = self::status();
        return $status['spooled'] > 0 ? 2 : ($status['refused'] > 0 ? 1 : 0);
    }

    /**
     * Lines that wait for the database, lines that it refused, and whether it is taken for
     * unreachable.
     *
     * @return array{spooled: int, refused: int, away: bool}
     */
    public static function status(): array
    {
        $lines = static function (string $path, int $from = 0): int {
            $count = 0;
            if (is_file($path) && ($file = fopen($path, 'rb'))) {
                fseek($file, $from);
                while (($part = fread($file, 65536)) !== false && $part !== '') {
                    $count += substr_count($part, "\n");
                }
            }
            return $count;
        };
        $spool = self::spool();
        $done = is_file("$spool.draining.at") ? (int) file_get_contents("$spool.draining.at") : 0;
        clearstatcache();
        return [
            'spooled' => $lines($spool) + $lines("$spool.draining", $done),
            'refused' => $lines("$spool.refused"),
            'away' => is_file("$spool.away") && time() - filemtime("$spool.away") < self::RETRY,
        ];
    }

    private static function bringIn(int $most, float $seconds): int
    {
        $seen = 0;
        self::keepWarnings();
        try {
            $taken = self::spool() . '.draining';
            $lock = is_file($taken) || is_file(self::spool()) ? fopen(self::spool() . '.lock', 'c') : false;
            if (!$lock || !flock($lock, LOCK_EX | LOCK_NB) || (!is_file($taken) && !rename(self::spool(), $taken))) {
                return 0;
            }
            $file = fopen($taken, 'rb');
            flock($file, LOCK_EX) && flock($file, LOCK_UN); // whoever was about to write into it has done so now, and nobody begins
            // How far the last call came; read again or not is the same to the table.
            fseek($file, (int) file_get_contents("$taken.at"));
            [$seen, $ended] = self::bringInLines($file, "$taken.at", $most, microtime(true) + $seconds);
            if ($ended) {
                unlink($taken);
                unlink("$taken.at");
            }
        } catch (Throwable $e) {
            $seen = 0;
            self::markAway();
            self::say($e, 'the spool stays');
        } finally {
            restore_error_handler();
        }
        return $seen;
    }

    /**
     * Brings in lines from where the file stands. Returns how many, and whether there are no more.
     *
     * An error that may be everybody's (no right, a statement that took too long) is a line's own
     * only when the table takes other lines and not this one, twice. Until that is known, nothing
     * after the line counts as done.
     */
    private static function bringInLines(mixed $file, string $position, int $most, float $until): array
    {
        $unclear = [];
        for ($seen = 0; $seen < $most && microtime(true) < $until && ($line = fgets($file)) !== false; $seen++) {
            $error = self::take($line);
            if ($error !== null && self::verdict($error) === self::UNCLEAR) {
                $unclear[] = [$line, $error];
            } elseif ($error !== null) {
                self::setAside($line, $error);
            }
            $unclear || file_put_contents($position, (string) ftell($file));
        }
        foreach ($unclear as [$line, $error]) {
            if (microtime(true) - self::$accepted > self::FRESH) {
                throw $error;
            }
            $again = self::take($line);
            $again === null || self::setAside($line, $again);
        }
        $unclear && file_put_contents($position, (string) ftell($file));
        return [$seen, ($line ?? '') === false];
    }

    /** Inserts one line of the spool. Returns why it was not taken; throws when no line would be. */
    private static function take(string $line): ?Throwable
    {
        try {
            $whole = str_ends_with($line, "\n"); // half a line is what a power cut left
            $event = json_decode($line, true);
            if (strlen($line) > self::LINE_MAX || ($whole && !is_array($event))) {
                throw new UnexpectedValueException('a spooled line is too long or not a JSON object');
            }
            is_array($event) && self::insert($event);
            return null;
        } catch (Throwable $e) {
            return self::verdict($e) === self::LATER ? throw $e : $e;
        }
    }

    private static function setAside(string $line, Throwable $why): void
    {
        $file = self::spool() . '.refused';
        $known = is_file($file);
        file_put_contents($file, $line, FILE_APPEND | LOCK_EX);
        $known || chmod($file, 0600);
        self::say($why, 'event refused for good');
    }

    private static function write(array $event): void
    {
        if (!self::isBounded()) {
            // Nothing could end a page's wait, so pages do not ask the database. One of them at a
            // time does, when it is done.
            try {
                self::append($event);
            } catch (RuntimeException) {
                self::insert($event); // there is no spool
                return;
            }
            self::drainAtEnd();
            return;
        }
        if (!self::mayTry()) {
            self::endQuietly();
            self::append($event); // a page that waits for a database that is away would be a page that fails
            return;
        }
        try {
            self::insert($event);
        } catch (Throwable $e) {
            if (self::verdict($e) === self::REFUSED) {
                self::setAside(json_encode($event, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES) . "\n", $e);
                return;
            }
            self::markAway();
            self::append($event);
            self::say($e, 'event ' . $event['event_id'] . ' spooled');
            return;
        }
        if (is_file(self::spool()) || is_file(self::spool() . '.draining')) {
            self::drainAtEnd(); // a part each time
        }
    }

    private static function drainAtEnd(): void
    {
        if (self::$draining) {
            return;
        }
        self::$draining = true;
        register_shutdown_function(static function (): void {
            self::keepWarnings();
            $may = self::mayTry();
            restore_error_handler();
            if (!$may) {
                return;
            }
            if (!self::isBounded() && function_exists('fastcgi_finish_request')) {
                fastcgi_finish_request(); // nobody waits for what comes now
            }
            self::bringIn(200, self::DRAIN);
        });
    }

    /** Whether to ask the database: not for RETRY seconds after a failure of any worker, and then one of them, the rest meanwhile not. */
    private static function mayTry(): bool
    {
        $mark = self::spool() . '.away';
        clearstatcache(true, $mark);
        $since = filemtime($mark);
        if (time() - max((int) $since, self::$away) < self::RETRY) {
            return false;
        }
        if ($since === false || !($file = fopen($mark, 'c'))) {
            return true;
        }
        if (!flock($file, LOCK_EX | LOCK_NB)) {
            return false;
        }
        clearstatcache(true, $mark);
        return time() - (int) filemtime($mark) >= self::RETRY && touch($mark);
    }

    private static function markAway(): void
    {
        self::disconnect();
        self::endQuietly();
        self::$away = time();
        touch(self::spool() . '.away');
    }

    private static function disconnect(): void
    {
        self::$pdo = self::$insert = self::$link = null;
    }

    /** What an error says of the event that was to be inserted. */
    private static function verdict(Throwable $e): int
    {
        if (!$e instanceof PDOException) {
            return self::REFUSED;
        }
        $state = (string) ($e->errorInfo[0] ?? $e->getCode());
        return match (true) {
            // No SQLSTATE, connection, resources, shutting down or starting, the server's system;
            // HY is the driver's own.
            preg_match('/^[0-9A-Z]{5}$/D', $state) !== 1, preg_match('/^(00|08|53|57P|58|HY)/', $state) === 1 => self::LATER,
            // Rights, schema, login, read-only server, locks, timeouts, internal errors.
            preg_match('/^(0A|25|28|3D|3F|40|42|55|57|XX)/', $state) === 1 => self::UNCLEAR,
            default => self::REFUSED,
        };
    }

    private static function insert(array $event): void
    {
        $values = [];
        foreach (self::COLUMNS as $column) {
            $value = $event[$column] ?? null;
            $values[] = match (true) {
                $column === 'metadata' => json_encode($value ?: new stdClass(), JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES),
                is_bool($value) => $value ? 't' : 'f',
                $value === null => null,
                is_scalar($value) => (string) $value,
                default => throw new UnexpectedValueException("$column is not a scalar"),
            };
        }
        try {
            self::isBounded() ? self::insertWithin(self::WAIT, $values) : self::insertAtLength($values);
        } catch (Throwable $e) {
            match (self::verdict($e)) {
                self::LATER => self::disconnect(),
                self::REFUSED => self::$accepted = microtime(true), // it got as far as to be judged
                default => null,
            };
            throw $e;
        }
        self::$accepted = microtime(true);
        self::$away = 0;
        unlink(self::spool() . '.away');
    }

    /**
     * Whether there is what it takes to end a wait: queries of ext-pgsql that do not block, and
     * ext-sockets to leave a connection on which an answer is due. (PDO waits in C, and no timeout
     * of libpq or TCP sees a server that is there and does not answer.)
     */
    private static function isBounded(): bool
    {
        $dsn = self::setting('dsn', 'AUDIT_DSN');
        return ($dsn === '' || str_starts_with($dsn, 'pgsql:')) && function_exists('pg_pconnect') && function_exists('socket_import_stream')
            && (int) ini_get('pgsql.auto_reset_persistent') === 0; // which asks each connection first, and waits
    }

    private static function insertWithin(float $seconds, array $values): void
    {
        // Kept between pages, and never the page's own (the name makes it another): its rollback
        // must not take the event along.
        $kept = self::$link ??= self::connect();
        try {
            self::query($kept, $seconds, $values);
        } catch (PDOException $e) {
            // A connection that was kept over a restart of the server fails once.
            if (self::verdict($e) !== self::LATER || self::$link === null || !pg_connection_reset($kept)) {
                throw $e;
            }
            self::query($kept, $seconds, $values);
        }
    }

    private static function connect(): mixed
    {
        $dsn = self::setting('dsn', 'AUDIT_DSN');
        if ($dsn === '') {
            throw new PDOException('AUDIT_DSN is not set');
        }
        $text = strtr(substr(self::withTimeouts($dsn), 6), ';', ' ') . ' connect_timeout=2 fallback_application_name=AuditLogger';
        foreach (['user' => self::setting('db_user', 'AUDIT_DB_USER'), 'password' => self::setting('db_password', 'AUDIT_DB_PASSWORD')] as $key => $value) {
            $text .= $value === '' ? '' : " $key='" . addcslashes($value, "'\\") . "'";
        }
        self::$warning = '';
        return pg_pconnect($text) ?: throw self::error('', self::$warning);
    }

    /** A page does not wait long for its audit. The server gives up a little before the page does, and the connection stays good. */
    private static function withTimeouts(string $dsn): string
    {
        return str_contains($dsn, 'options=') ? $dsn : "$dsn;options='-c statement_timeout=1500';tcp_user_timeout=3000";
    }

    private static function query(mixed $link, float $seconds, array $values): void
    {
        $until = microtime(true) + $seconds;
        $marks = implode(', ', array_map(static fn (int $n): string => "\$$n", range(1, count(self::COLUMNS))));
        $sql = 'INSERT INTO public.audit_events (' . implode(', ', self::COLUMNS) . ") VALUES ($marks) ON CONFLICT DO NOTHING";
        if (!pg_send_query_params($link, $sql, $values)) {
            throw self::error('', pg_last_error($link));
        }
        $socket = pg_socket($link);
        $failed = null;
        do {
            while (pg_connection_busy($link)) {
                $left = (int) (($until - microtime(true)) * 1_000_000);
                if ($left <= 0) {
                    self::leave($link);
                    throw self::error('', "the database did not answer within $seconds s");
                }
                [$read, $write, $except] = [[$socket], null, null];
                stream_select($read, $write, $except, intdiv($left, 1_000_000), $left % 1_000_000);
            }
            $result = pg_get_result($link);
            if ($result !== false && pg_result_status($result) !== PGSQL_COMMAND_OK) {
                $failed ??= self::error((string) pg_result_error_field($result, PGSQL_DIAG_SQLSTATE), (string) pg_result_error($result));
            }
        } while ($result !== false);
        $failed === null || throw $failed;
    }

    /** Ends a connection on which an answer is due. PHP would wait for the answer at the end of the page. */
    private static function leave(mixed $link): void
    {
        $socket = socket_import_stream(pg_socket($link));
        $socket && socket_shutdown($socket, 2);
        while (pg_get_result($link));
        self::$link = null;
    }

    /** At the end of a page PHP gives a notice for each kept connection that is broken; the error log has a line of ours already. */
    private static function endQuietly(): void
    {
        if (self::$quiet) {
            return;
        }
        self::$quiet = true;
        // After the page's own shutdown functions, whose notices are its business.
        register_shutdown_function(static fn () => register_shutdown_function(
            static fn () => error_reporting(error_reporting() & ~E_NOTICE)
        ));
    }

    /** As PDO reports it, whose class the error log names. */
    private static function error(string $state, string $message): PDOException
    {
        $e = new PDOException(($state === '' ? '' : "SQLSTATE[$state]: ") . ($message === '' ? 'the connection failed' : $message));
        $e->errorInfo = [$state, 7, $message];
        return $e;
    }

    private static function insertAtLength(array $values): void
    {
        if (self::$insert === null) {
            $dsn = self::withTimeouts(self::setting('dsn', 'AUDIT_DSN'));
            self::$pdo = new PDO($dsn, self::setting('db_user', 'AUDIT_DB_USER'), self::setting('db_password', 'AUDIT_DB_PASSWORD'), [
                PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
                PDO::ATTR_TIMEOUT => 2,
                PDO::ATTR_PERSISTENT => 'audit',
            ]);
            // One round trip instead of two; the constant's old name is deprecated where the new one is.
            $once = constant(defined('Pdo\Pgsql::ATTR_DISABLE_PREPARES') ? 'Pdo\Pgsql::ATTR_DISABLE_PREPARES' : 'PDO::PGSQL_ATTR_DISABLE_PREPARES');
            $marks = implode(', ', array_fill(0, count(self::COLUMNS), '?'));
            self::$insert = self::$pdo->prepare('INSERT INTO public.audit_events (' . implode(', ', self::COLUMNS)
                . ") VALUES ($marks) ON CONFLICT DO NOTHING", [$once => true]);
        }
        self::$insert->execute($values);
    }

    /** One line, whole or not at all. */
    private static function append(array $event): void
    {
        $line = json_encode($event, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES) . "\n";
        $spool = self::spool();
        for ($try = 0; $try < 5; $try++) {
            $file = fopen($spool, 'ab');
            if (!$file || !flock($file, LOCK_EX)) {
                break;
            }
            clearstatcache(true, $spool);
            if (fileinode($spool) !== fstat($file)['ino']) {
                continue; // drain() took it away between the two
            }
            $before = fstat($file)['size'];
            $before === 0 && chmod($spool, 0600);
            if ($before + strlen($line) <= self::SPOOL_MAX) {
                if (fwrite($file, $line) === strlen($line) && fflush($file)) {
                    return;
                }
                ftruncate($file, $before);
            }
            break;
        }
        throw new RuntimeException("cannot append to $spool: it is full or may not be written");
    }

    private static function event(string $category, string $action, string $result, ?string $userId, array $more, bool $cui): array
    {
        $text = static fn (mixed $value, int $most): ?string => $value === null || $value === '' || !is_scalar($value) ? null
            : self::cut(self::utf8((string) $value), $most);
        $uuid = static fn (mixed $value): ?string => is_string($value) && preg_match(self::UUID, $value) ? $value : null;
        $agent = $text($more['user_agent'] ?? $_SERVER['HTTP_USER_AGENT'] ?? null, 4000);
        $ip = filter_var($more['ip_address'] ?? self::address(), FILTER_VALIDATE_IP) ?: null;
        $event = [
            'event_id' => self::uuid(),
            'timestamp' => (new DateTimeImmutable('now', new DateTimeZone('UTC')))->format('Y-m-d\TH:i:s.u\Z'),
            'category' => isset(self::ACTIONS[$category]) ? $category : self::CAT_SYSTEM,
            'action' => $text($action, 128) ?? 'unnamed',
            'result' => in_array($result, ['success', 'failure', 'denied'], true) ? $result : 'failure',
            'user_id' => $uuid($userId),
            'session_id' => $text($more['session_id'] ?? null, 1024),
            'ip_address' => $ip,
            'user_agent' => preg_match('/^.{1,500}/us', (string) $agent, $cut) ? $cut[0] : null,
            'resource_type' => $text($more['resource_type'] ?? (isset($_SERVER['REQUEST_URI']) ? 'endpoint' : null), 2048),
            // Without the query, in which secrets travel.
            'resource_id' => $text($more['resource_id'] ?? explode('?', $_SERVER['REQUEST_URI'] ?? '')[0], 8192),
            'instance_id' => $uuid($more['instance_id'] ?? null),
            'cui_accessed' => $cui,
        ];
        // What no column takes is kept where it does no harm: an event that is wrong in one field is still evidence.
        $wrong = array_filter(['user' => $event['user_id'] === $userId ? null : $userId, 'result' => $event['result'] === $result ? null : $result,
            'category' => $event['category'] === $category ? null : $category], static fn ($v): bool => $v !== null);
        foreach (array_intersect_key($more, $event) as $key => $value) {
            $column = (string) $event[$key]; // which may hold the beginning of a long text
            $same = is_scalar($value) && ($column === '' ? (string) $value === '' : str_starts_with((string) $value, $column));
            $value === null || $same || $wrong += [$key => $value];
        }
        $event['metadata'] = self::metadata(array_diff_key($more, $event) + ($wrong ? ['as_given' => $wrong] : []));
        return $event;
    }

    /**
     * The metadata as JSON can hold it, within METADATA_MAX. What had to go stands in
     * `metadata_cut`, by name: whoever sends too much hides neither who it was nor how much.
     */
    private static function metadata(array $given): array|stdClass
    {
        $first = array_intersect_key($given, array_flip(self::RULE_KEYS));
        $given = array_merge($first, array_diff_key($given, $first));
        foreach (self::TEXTS_MAX as $most) {
            $cut = [];
            $items = self::METADATA_ITEMS;
            $plain = self::plain($given, $most, self::METADATA_DEPTH, '', $cut, $items);
            $whole = self::withCuts($plain, $cut);
            if (strlen(self::json($whole)) <= self::METADATA_MAX) {
                return $whole ?: new stdClass();
            }
        }
        $kept = [];
        $room = self::METADATA_MAX - 4096; // for the names of what goes
        foreach ($plain as $key => $value) {
            $size = strlen(self::json([$key => $value]));
            if ($size <= $room) {
                $kept[$key] = $value;
                $room -= $size;
            } else {
                $cut[] = (string) $key;
            }
        }
        return self::withCuts($kept, $cut);
    }

    private static function withCuts(array $plain, array $cut): array
    {
        $names = array_slice(array_map(static fn (string $name): string => self::cut($name, 100), array_unique($cut)), 0, 20);
        return $cut ? $plain + ['metadata_cut' => array_values($names)] : $plain;
    }

    /** A copy that JSON can hold: bounded in depth, size and number, of nothing that throws. Notes the name of what it cuts. */
    private static function plain(mixed $value, int $most, int $depth, string $name, array &$cut, int &$items): mixed
    {
        $items--;
        if ($value instanceof JsonSerializable) {
            try {
                $value = $value->jsonSerialize();
            } catch (Throwable) {
                $cut[] = $name;
                return null;
            }
        }
        if ($value instanceof UnitEnum) {
            $value = $value instanceof BackedEnum ? $value->value : $value->name;
        }
        if (is_string($value)) {
            $text = self::utf8($value);
            strlen($text) > $most && $cut[] = $name;
            return self::cut($text, $most);
        }
        if (is_float($value) && !is_finite($value)) {
            return (string) $value;
        }
        if (is_scalar($value) || $value === null) {
            return $value;
        }
        if ($depth === 0 || is_resource($value)) {
            $cut[] = $name;
            return null;
        }
        $copy = [];
        foreach (is_object($value) ? get_object_vars($value) : (array) $value as $key => $inner) {
            $path = $name === '' ? (string) $key : $name;
            if ($items <= 0) {
                $cut[] = $path;
                continue;
            }
            $key = is_string($key) ? self::cut(self::utf8($key), 256) : $key;
            $copy[$key] = self::plain($inner, $most, $depth - 1, $path, $cut, $items);
        }
        return $copy;
    }

    /** What PostgreSQL can store: UTF-8 without NUL. */
    private static function utf8(string $text): string
    {
        return str_replace("\0", "\u{FFFD}", (string) json_decode(json_encode($text, JSON_INVALID_UTF8_SUBSTITUTE)));
    }

    private static function json(array $value): string
    {
        return json_encode($value, JSON_UNESCAPED_SLASHES | JSON_PARTIAL_OUTPUT_ON_ERROR) ?: '';
    }

    /** At most so many bytes, and no half character at the end. */
    private static function cut(string $text, int $most): string
    {
        return strlen($text) <= $most ? $text : preg_replace('/[\xC0-\xFF][\x80-\xBF]*$/D', '', substr($text, 0, $most));
    }

    /** The client. A forwarded address counts behind a trusted proxy alone; it is the last one that is no such proxy. */
    private static function address(): ?string
    {
        $address = $_SERVER['REMOTE_ADDR'] ?? null;
        $trusted = array_map('trim', explode(',', self::setting('trusted_proxies', 'AUDIT_TRUSTED_PROXIES')));
        $hops = array_reverse(explode(',', $_SERVER['HTTP_X_FORWARDED_FOR'] ?? ''));
        while ($address !== null && in_array($address, $trusted, true) && ($hop = self::hop((string) array_shift($hops)))) {
            $address = $hop;
        }
        return $address;
    }

    /** The address of an entry of X-Forwarded-For, to which some gateways add a port, brackets or a zone. */
    private static function hop(string $entry): string|false
    {
        preg_match('/^"?(?:\[([^\]%]+)(?:%[^\]]*)?\]|([\d.]+)|([0-9a-f:.]+)(?:%[\w.-]+)?)(?::\d{1,5})?"?$/iD', trim($entry), $found);
        return filter_var(implode('', array_slice($found, 1)), FILTER_VALIDATE_IP);
    }

    /** UUIDv7: ordered by time, which an index likes. */
    private static function uuid(): string
    {
        $bytes = substr(pack('J', (int) (microtime(true) * 1000)), 2) . random_bytes(10);
        $bytes[6] = chr(ord($bytes[6]) & 0x0f | 0x70);
        $bytes[8] = chr(ord($bytes[8]) & 0x3f | 0x80);
        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
    }

    /** A page's own handler may throw at a warning; ours are not its business. */
    private static function keepWarnings(): void
    {
        set_error_handler(static function (int $level, string $text): bool {
            self::$warning = $text;
            return true;
        });
    }

    private static function setting(string $key, string $variable): string
    {
        return (string) (self::$settings[$key] ?? $_SERVER[$variable] ?? getenv($variable));
    }

    private static function spool(): string
    {
        return self::setting('spool', 'AUDIT_SPOOL') ?: '/var/spool/audit/events.ndjson';
    }

    /** One line for the error log, which is collected: nothing of the event but its id, and no line break out of a message. */
    private static function say(Throwable $e, string $then): void
    {
        error_log('AuditLogger exception: ' . $e::class . ': ' . substr(preg_replace('/[[:cntrl:]]+/', ' ', $e->getMessage()), 0, 300) . "; $then");
    }
}

if (PHP_SAPI === 'cli' && realpath($_SERVER['argv'][0] ?? '') === __FILE__) {
    // cron has no part in the settings of PHP-FPM: without them it would drain nothing, and call that done.
    $spool = getenv('AUDIT_SPOOL') ?: '/var/spool/audit/events.ndjson';
    if (!is_dir(dirname($spool))) {
        fprintf(STDERR, "AuditLogger: there is no folder %s; set AUDIT_SPOOL (and AUDIT_DATABASE_URL) as the pages have them\n", dirname($spool));
        exit(2);
    }
    $code = AuditLogger::drainAll();
    $code === 0 || fprintf(STDERR, "AuditLogger: %s\n", json_encode(AuditLogger::status()));
    exit($code);
}
