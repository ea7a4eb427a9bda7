<?php
/**
 * Lets administrators in and nobody else (BT-01; NIST SP 800-171 3.1.1, 3.1.7). The first statement of api/admin/settings.php:
 *
 *     require_once __DIR__ . '/../../lib/SettingsGuard.php';
 *     $claims = SettingsGuard::requireAdmin();
 *
 * It takes the JWT from the cookie (EQMON_JWT_COOKIE, when not said `token`) or from `Authorization: Bearer`, checks its signature
 * (HS256, with JwtSecret's key), its times and its role, answers 401 or 403 and ends the request when one of them is wrong, and
 * tells the audit log of it. Without a key it answers 503.
 */
declare(strict_types=1);

require_once __DIR__ . '/AuditLogger.php';
require_once __DIR__ . '/JwtSecret.php';

final class SettingsGuard
{
    public const ADMINS = ['admin', 'system_admin', 'super_admin'];
    private const LEEWAY = 30; // seconds that clocks may differ

    /** The token's claims; returns only for an administrator. */
    public static function requireAdmin(array $roles = self::ADMINS): array
    {
        try {
            $secret = JwtSecret::get();
        } catch (Throwable $e) {
            error_log('SettingsGuard: ' . $e->getMessage());
            self::refuse(503, 'not configured', null);
        }
        $claims = self::claims($secret);
        if ($claims === null) {
            self::refuse(401, 'authentication required', null);
        }
        $user = self::text($claims['sub'] ?? $claims['user_id'] ?? null);
        $role = self::text($claims['role'] ?? null);
        AuditLogger::context(array_filter(['role' => $role, 'session_id' => self::text($claims['jti'] ?? null)]));
        if (!in_array($role, $roles, true)) {
            self::refuse(403, 'administrators only', $user);
        }
        return $claims;
    }

    /** The claims of the first token that is genuine and of now, of the cookie's and the header's; else null. */
    private static function claims(string $secret): ?array
    {
        $cookie = $_SERVER['EQMON_JWT_COOKIE'] ?? (getenv('EQMON_JWT_COOKIE') ?: 'token');
        preg_match('/^Bearer ([^\s]+)$/D', $_SERVER['HTTP_AUTHORIZATION'] ?? '', $found);
        // A cookie that has expired, or that another page set, must not bar who brings a good header.
        return self::genuine($_COOKIE[$cookie] ?? null, $secret) ?? self::genuine($found[1] ?? null, $secret);
    }

    private static function genuine(mixed $token, string $secret): ?array
    {
        $parts = is_string($token) && strlen($token) < 8192 ? explode('.', $token) : [];
        if (count($parts) !== 3) {
            return null;
        }
        [$head, $body, $signature] = array_map(self::decode(...), $parts);
        // The algorithm is ours to choose: a token that says `none` or another one is no token.
        $head = is_string($head) ? json_decode($head, true) : null;
        if (!is_array($head) || ($head['alg'] ?? null) !== 'HS256' || !is_string($signature)
            || !hash_equals(hash_hmac('sha256', "$parts[0].$parts[1]", $secret, true), $signature)) {
            return null;
        }
        $claims = is_string($body) ? json_decode($body, true, 8) : null;
        $now = time();
        if (!is_array($claims) || !is_numeric($claims['exp'] ?? null) || $claims['exp'] + self::LEEWAY < $now
            || (isset($claims['nbf']) && (!is_numeric($claims['nbf']) || $claims['nbf'] - self::LEEWAY > $now))) {
            return null;
        }
        return $claims;
    }

    private static function decode(string $part): ?string
    {
        $plain = preg_match('/^[A-Za-z0-9_-]+$/D', $part) ? base64_decode(strtr($part, '-_', '+/'), true) : false;
        return $plain === false ? null : $plain;
    }

    private static function text(mixed $claim): ?string
    {
        return is_scalar($claim) ? (string) $claim : null;
    }

    private static function refuse(int $status, string $why, ?string $user): never
    {
        AuditLogger::log(AuditLogger::CAT_ADMIN, 'settings_change', 'denied', $user,
            ['status' => $status, 'why' => $why, 'method' => $_SERVER['REQUEST_METHOD'] ?? null]);
        http_response_code($status);
        header('Content-Type: application/json');
        header('Cache-Control: no-store');
        if ($status === 401) {
            header('WWW-Authenticate: Bearer');
        }
        echo json_encode(['error' => $why]);
        exit;
    }
}
