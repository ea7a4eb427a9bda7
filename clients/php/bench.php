<?php
/**
 * The time that AuditLogger::log() adds to a page: php bench.php [COUNT]. Prints the median and the 99th percentile in microseconds, one call
 * each: with what the environment says; and with a database that is away, after the first failure.
 */
declare(strict_types=1);

require __DIR__ . '/AuditLogger.php';

$_SERVER = ['REMOTE_ADDR' => '192.0.2.1', 'HTTP_USER_AGENT' => 'Mozilla/5.0 (X11; Linux x86_64)', 'REQUEST_URI' => '/api/ai_chat.php'] + $_SERVER;

function measure(int $count): string
{
    $took = [];
    for ($n = 0; $n < $count; $n++) {
        $since = hrtime(true);
        AuditLogger::log('access', 'api_request', 'success', '019a0000-0000-7000-8000-000000000001', ['n' => $n, 'role' => 'analyst']);
        $took[] = (hrtime(true) - $since) / 1000;
    }
    sort($took);
    return sprintf('%.0f %.0f', $took[intdiv($count, 2)], $took[intdiv($count * 99, 100)]);
}

$count = (int) ($argv[1] ?? 2000);
AuditLogger::log('system', 'bench', 'success', null); // connects
$up = measure($count);
$spool = sys_get_temp_dir() . '/audit-bench-' . getmypid() . '.ndjson';
AuditLogger::configure(['dsn' => 'pgsql:host=127.0.0.1;port=1', 'spool' => $spool]);
AuditLogger::log('system', 'bench', 'success', null); // fails
$away = measure($count);
array_map(unlink(...), glob("$spool*"));
echo "$up $away\n";
