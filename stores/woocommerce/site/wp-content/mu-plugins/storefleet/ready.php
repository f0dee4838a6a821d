<?php
/**
 * Start-up and readiness probe: check that the database answers and that the set-up of this release
 * is done. WordPress is not loaded, so that nothing an owner changes can stop a pod.
 */

declare(strict_types=1);

namespace Storefleet;

require_once '/opt/storefleet/shop/lib/configuration.php';
require_once '/opt/storefleet/shop/lib/database.php';
require_once __DIR__ . '/releases.php';
require_once __DIR__ . '/warm-up.php';

header( 'Content-Type: text/plain; charset=utf-8' );
header( 'Cache-Control: no-store' );
try {
	$storefleet_releases = Releases::read( Database::connect( Configuration::load(), 2 ) );
	$storefleet_problem  = Releases::is_set_up( $storefleet_releases )
		? ''
		: 'The set-up of this release has not finished yet.';
	if ( '' === $storefleet_problem ) {
		WarmUp::run_once( Configuration::load() );
	}
} catch ( \Throwable ) {
	$storefleet_problem = 'The database does not answer.';
}
http_response_code( '' === $storefleet_problem ? 200 : 503 );
echo '' === $storefleet_problem ? 'ok' : $storefleet_problem, "\n";
