<?php
/**
 * The key that signs EQMON's JWTs, from outside of the source (BT-01; NIST SP 800-171 3.13.10). Replaces the constant:
 *
 *     require_once __DIR__ . '/JwtSecret.php';
 *     $secret = JwtSecret::get();
 *
 * It comes from the environment (EQMON_JWT_SECRET) or from the line `EQMON_JWT_SECRET=…` of the file EQMON_ENV_FILE (when not
 * said, /etc/eqmon/env). There is no default: without a good key nobody gets in. A placeholder (`change-me-…`), a word that is
 * repeated and a key of few different bytes are no good keys.
 */
declare(strict_types=1);

final class JwtSecret
{
    private const BYTES_MIN = 32; // what HS256 needs (RFC 7518, 3.2)
    private const DIFFERENT_MIN = 10; // different bytes; of 32 random hexadecimal digits one key in 900 has fewer
    private const PLACEHOLDERS = '/change[-_ ]?(me|this|it)|replace[-_ ]?(me|this)|your[-_ ]?(jwt[-_ ]?)?(secret|key)|example|placeholder|default|password/i';

    /** @throws RuntimeException when there is no key, it is too short, or others may read it */
    public static function get(): string
    {
        $secret = $_SERVER['EQMON_JWT_SECRET'] ?? getenv('EQMON_JWT_SECRET');
        if (!is_string($secret) || $secret === '') {
            $secret = self::fromFile($_SERVER['EQMON_ENV_FILE'] ?? (getenv('EQMON_ENV_FILE') ?: '/etc/eqmon/env'));
        }
        if (strlen($secret) < self::BYTES_MIN) {
            throw new RuntimeException('EQMON_JWT_SECRET is missing or shorter than ' . self::BYTES_MIN . ' bytes');
        }
        if (preg_match(self::PLACEHOLDERS, $secret) || count(count_chars($secret, 1)) < self::DIFFERENT_MIN
            || preg_match('/^(.{1,16})\1+$/sD', $secret)) {
            throw new RuntimeException('EQMON_JWT_SECRET is a placeholder or easily guessed: openssl rand -base64 48 makes a good one');
        }
        return $secret;
    }

    private static function fromFile(string $path): string
    {
        $real = realpath($path);
        if ($real === false) {
            return '';
        }
        $root = realpath($_SERVER['DOCUMENT_ROOT'] ?? '') ?: null;
        // Also where a link to it lies: the web server follows it.
        $folder = realpath(dirname($path));
        foreach ([$real, "$folder/"] as $place) {
            if ($root !== null && $root !== '/' && str_starts_with($place, "$root/")) {
                throw new RuntimeException("$path lies where browsers can fetch it");
            }
        }
        if ((fileperms($real) & 0007) !== 0) {
            throw new RuntimeException("$path may be read by everybody: chmod 640");
        }
        foreach (file($real, FILE_IGNORE_NEW_LINES) ?: [] as $line) {
            if (preg_match('/^\s*(?:export\s+)?EQMON_JWT_SECRET\s*=\s*(["\']?)(.*?)\1\s*$/', $line, $found)) {
                return $found[2];
            }
        }
        return '';
    }
}
