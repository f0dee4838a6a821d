<?php
/** At image build: one page as a visitor gets it, which compiles its code; fails when it does not show a text. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/request.php';

[ , , $storefleet_uri, $storefleet_expected ] = $argv;
$storefleet_script = 1 === preg_match( '~^/wp-[a-z]+\.php~', $storefleet_uri, $storefleet_found ) ? $storefleet_found[0] : '/index.php';
Request::pretend( Configuration::current(), $storefleet_uri, $storefleet_script );
$storefleet_ending->well();
ob_start();
register_shutdown_function(
	static function () use ( $storefleet_uri, $storefleet_expected ): void {
		$page = '';
		while ( ob_get_level() > 0 ) {
			$page = ob_get_clean() . $page;
		}
		if ( ! str_contains( $page, $storefleet_expected ) ) {
			say( 'visit', "{$storefleet_uri} does not show “{$storefleet_expected}”, but: " . substr( trim( strip_tags( $page ) ), 0, 300 ) );
			exit( 1 );
		}
	}
);
require "/srv/wordpress{$storefleet_script}";
