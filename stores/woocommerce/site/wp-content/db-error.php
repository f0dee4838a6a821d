<?php
/** The page that visitors see while the database is unavailable; it does not need WordPress. */

if ( '/storefleet/health' === strtok( (string) ( $_SERVER['REQUEST_URI'] ?? '' ), '?' ) ) {
	header( 'Content-Type: application/json' );
	header( 'Cache-Control: no-store' );
	echo '{"database":"unavailable"}';
	return;
}
http_response_code( 503 );
header( 'Content-Type: text/html; charset=utf-8' );
header( 'Retry-After: 5' );
header( 'Cache-Control: no-store' );
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>One moment, please</title>
<style>
:root { color-scheme: light dark; }
body { margin: 18vh auto; max-width: 30rem; padding: 0 1.25rem; font: 1.1rem/1.6 system-ui, sans-serif; }
</style>
</head>
<body>
<h1>One moment, please</h1>
<p>The shop is temporarily unavailable. Please try again in a few seconds.</p>
<p><a href="">Try again</a></p>
</body>
</html>
