<?php
// A page that leads whoever is logged in to your application into the notebook: PHP 8, without packages. Copy it, and put
// your own session in the place of $_SESSION["user"].
//
// HUBLATCH_API_URL=http://127.0.0.1:8010, and HUBLATCH_API_KEY_FILE: a file with the application's key, which only the
// server can read and which no web server serves.

declare(strict_types=1);

final class HublatchException extends RuntimeException
{
    public function __construct(public readonly int $status, public readonly string $hublatchCode, string $message)
    {
        parent::__construct($message);
    }
}

/** Issues a link: `path`, `server`, `next`, `launch` and the other fields of openapi.yaml. */
function hublatch_link(string $username, array $order = []): array
{
    $url = rtrim((string) getenv("HUBLATCH_API_URL"), "/") . "/api/v1/links";
    $key = trim((string) file_get_contents((string) getenv("HUBLATCH_API_KEY_FILE")));
    $context = stream_context_create(["http" => [
        "method" => "POST",
        "header" => ["Authorization: token $key", "Content-Type: application/json"],
        "content" => json_encode(["username" => $username] + $order, JSON_THROW_ON_ERROR),
        // The answer of an error is read as well; a redirect must not take the key elsewhere.
        "ignore_errors" => true,
        "follow_location" => 0,
        "timeout" => 30,
    ]]);
    $text = @file_get_contents($url, false, $context);
    if ($text === false) {
        throw new HublatchException(0, "unreachable", "no answer of hublatch");
    }
    $answer = json_decode($text, true);
    $status = (int) (explode(" ", $http_response_header[0])[1] ?? 0);
    if ($status !== 201 || !is_array($answer)) {
        throw new HublatchException($status, $answer["code"] ?? "unreadable", $answer["message"] ?? "no word of hublatch");
    }
    return $answer;
}

session_start(["cookie_samesite" => "Lax", "cookie_httponly" => true]);

if ($_SERVER["REQUEST_METHOD"] !== "POST") {
    echo '<form method="post"><button>To my notebook</button></form>';
    return;
}
if (!isset($_SESSION["user"])) {
    http_response_code(401);
    return;
}
try {
    $link = hublatch_link($_SESSION["user"], ["path" => "lab"]);
} catch (HublatchException $error) {
    error_log("hublatch: {$error->getMessage()} ({$error->status}, {$error->hublatchCode})");
    http_response_code(503);
    echo "The notebooks do not answer right now. Please try again.";
    return;
}
header("Cache-Control: no-store");
header("Location: " . $link["url"], true, 303);
