<?php
/**
 * During the image build: render a page, which compiles its code; fail if it lacks the expected
 * text.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/request.php';

[ , , $storefleet_uri, $storefleet_expected ] = $argv;
$storefleet_is_script = 1 === preg_match( '~^/wp-[a-z]+\.php~', $storefleet_uri, $storefleet_found );
$storefleet_script    = $storefleet_is_script ? $storefleet_found[0] : '/index.php';
Request::simulate( Configuration::load(), $storefleet_uri, $storefleet_script );
$storefleet_termination->succeed();
ob_start();
register_shutdown_function(
	static function () use ( $storefleet_uri, $storefleet_expected ): void {
		$page = '';
		while ( ob_get_level() > 0 ) {
			$page = ob_get_clean() . $page;
		}
		if ( ! str_contains( $page, $storefleet_expected ) ) {
			$text = substr( trim( strip_tags( $page ) ), 0, 300 );
			log_line(
				'visit', "{$storefleet_uri} does not show “{$storefleet_expected}”. It shows: {$text}"
			);
			exit( 1 );
		}
	}
);
require "/srv/wordpress{$storefleet_script}";
