<?php
/**
 * Audit events of a PHP application into PostgreSQL: NIST SP 800-171 3.3.1, 3.3.2. One file; PHP 8.2 or newer with pdo_pgsql.
 *
 *     AuditLogger::log(AuditLogger::CAT_AUTH, 'login_failed', 'failure', null, ['username' => $name]);
 *
 * It never throws into the page and never fails it. An event that the database does not take is appended to a spool file (a line
 * of JSON, as `POST /v1/events` takes it) and told in PHP's error log; when the database is back, the spool is brought in. Id
 * and time are chosen here, so bringing an event in twice changes nothing.
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
    private const RETRY = 5;                    // seconds without another attempt after one that failed

    private static array $settings = [];
    private static array $context = [];
    private static ?PDO $pdo = null;
    private static ?PDOStatement $insert = null;
    private static bool $draining = false;

    /** Settings that win over the environment: dsn, db_user, db_password, spool, trusted_proxies. */
    public static function configure(array $settings): void
    {
        self::$settings = $settings;
        self::$pdo = self::$insert = null;
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
        // A page's own handler may throw at a warning; ours are not its business.
        set_error_handler(static fn (): bool => true);
        try {
            $event = self::event($category, $action, $result, $userId, $metadata + self::$context, $cuiAccessed);
            self::write($event);
        } catch (Throwable $e) {
            self::say($e, 'event lost');
        } finally {
            restore_error_handler();
        }
    }

    /** Brings lines of the spool into the database: by itself after an outage, or from cron. Returns how many were looked at. */
    public static function drain(int $most = 200): int
    {
        $seen = 0;
        set_error_handler(static fn (): bool => true);
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
            while ($seen < $most && ($line = fgets($file)) !== false) {
                try {
                    is_array($event = json_decode($line, true)) && self::insert($event);
                } catch (PDOException $e) {
                    if (!preg_match('/^2[23]/', (string) $e->getCode())) {
                        throw $e; // away again
                    }
                    file_put_contents(self::spool() . '.refused', $line, FILE_APPEND | LOCK_EX);
                    self::say($e, 'event refused for good');
                }
                file_put_contents("$taken.at", (string) ftell($file));
                $seen++;
            }
            if ($seen < $most) {
                unlink($taken);
                unlink("$taken.at");
            }
        } catch (Throwable $e) {
            self::$pdo = self::$insert = null;
            self::say($e, 'the spool stays');
        } finally {
            restore_error_handler();
        }
        return $seen;
    }

    private static function write(array $event): void
    {
        $mark = self::spool() . '.away';
        clearstatcache(true, $mark);
        $since = filemtime($mark);
        if ($since !== false && time() - $since < self::RETRY) {
            self::append($event); // a page that waits for a database that is away would be a page that fails
            return;
        }
        try {
            self::insert($event);
            unlink($mark);
        } catch (Throwable $e) {
            self::$pdo = self::$insert = null;
            touch($mark);
            self::append($event);
            self::say($e, 'event ' . $event['event_id'] . ' spooled');
            return;
        }
        if (!self::$draining && (is_file(self::spool()) || is_file(self::spool() . '.draining'))) {
            self::$draining = true;
            register_shutdown_function(self::drain(...)); // at the end of the page, a part each time
        }
    }

    private static function insert(array $event): void
    {
        if (self::$insert === null) {
            $dsn = self::setting('dsn', 'AUDIT_DSN');
            if (!str_contains($dsn, 'options=')) { // a page does not wait long for its audit
                $dsn .= ";options='-c statement_timeout=2000';tcp_user_timeout=3000";
            }
            self::$pdo = new PDO($dsn, self::setting('db_user', 'AUDIT_DB_USER'), self::setting('db_password', 'AUDIT_DB_PASSWORD'), [
                PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
                PDO::ATTR_TIMEOUT => 2,
                // Kept between pages, and never the page's own: its rollback must not take the event along.
                PDO::ATTR_PERSISTENT => 'audit',
            ]);
            // One round trip instead of two; the constant's old name is deprecated where the new one is.
            $once = constant(defined('Pdo\Pgsql::ATTR_DISABLE_PREPARES') ? 'Pdo\Pgsql::ATTR_DISABLE_PREPARES' : 'PDO::PGSQL_ATTR_DISABLE_PREPARES');
            $marks = array_map(static fn (string $c): string => ":$c", self::COLUMNS);
            self::$insert = self::$pdo->prepare('INSERT INTO public.audit_events (' . implode(', ', self::COLUMNS) . ') VALUES ('
                . implode(', ', $marks) . ') ON CONFLICT DO NOTHING', [$once => true]);
        }
        foreach (self::COLUMNS as $column) {
            $value = $event[$column] ?? null;
            $value = match (true) {
                $column === 'metadata' => json_encode($value ?: new stdClass(), JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES),
                is_bool($value) => $value ? 't' : 'f',
                default => $value,
            };
            self::$insert->bindValue(":$column", $value);
        }
        self::$insert->execute();
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
            : self::cut(str_replace("\0", "\u{FFFD}", json_decode(json_encode((string) $value, JSON_INVALID_UTF8_SUBSTITUTE))), $most);
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
        $rest = array_diff_key($more, $event) + ($wrong ? ['as_given' => $wrong] : []);
        $json = json_encode($rest, JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR, 24);
        $json = preg_replace('/(?<!\\\\)((?:\\\\\\\\)*)\\\\u0000/', '$1\\ufffd', $json ?: '{"metadata_lost":"no JSON"}');
        $event['metadata'] = strlen($json) <= self::METADATA_MAX ? (json_decode($json, true) ?: new stdClass()) : ['metadata_lost' => 'too large'];
        return $event;
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
        while ($address !== null && in_array($address, $trusted, true) && ($hop = filter_var(trim(array_shift($hops) ?? ''), FILTER_VALIDATE_IP))) {
            $address = $hop;
        }
        return $address;
    }

    /** UUIDv7: ordered by time, which an index likes. */
    private static function uuid(): string
    {
        $bytes = substr(pack('J', (int) (microtime(true) * 1000)), 2) . random_bytes(10);
        $bytes[6] = chr(ord($bytes[6]) & 0x0f | 0x70);
        $bytes[8] = chr(ord($bytes[8]) & 0x3f | 0x80);
        return vsprintf('%s%s-%s-%s-%s-%s%s%s', str_split(bin2hex($bytes), 4));
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
