<?php
/** Readiness probe: check that the database answers, without loading WordPress. */

declare(strict_types=1);

namespace Storefleet;

require_once '/opt/storefleet/shop/lib/configuration.php';
require_once '/opt/storefleet/shop/lib/database.php';

header( 'Content-Type: text/plain; charset=utf-8' );
header( 'Cache-Control: no-store' );
try {
	Database::connect( Configuration::load(), 2 )->fetch_number( 'SELECT 1' );
	echo "ok\n";
} catch ( \Throwable ) {
	http_response_code( 503 );
	echo "The database does not answer.\n";
}
