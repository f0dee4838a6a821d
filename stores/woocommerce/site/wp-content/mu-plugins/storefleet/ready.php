<?php
/** Readiness: whether the shop's database answers. Nothing of WordPress is loaded for it. */

declare(strict_types=1);

namespace Storefleet;

require_once '/opt/storefleet/shop/lib/configuration.php';
require_once '/opt/storefleet/shop/lib/database.php';

header( 'Content-Type: text/plain; charset=utf-8' );
header( 'Cache-Control: no-store' );
try {
	Database::of( Configuration::current(), 2 )->number( 'SELECT 1' );
	echo "ok\n";
} catch ( \Throwable ) {
	http_response_code( 503 );
	echo "The database does not answer.\n";
}
