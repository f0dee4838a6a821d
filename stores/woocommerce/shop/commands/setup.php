<?php
/**
 * Makes the store what its configuration says, from whatever is there: nothing, the image's template, a shop that was
 * killed in the middle of this, one of an older or a newer release. Run again, it changes nothing.
 */

declare(strict_types=1);

namespace Storefleet;

foreach ( [ 'guard', 'request', 'progress', 'site', 'shop', 'settings', 'goods', 'check' ] as $storefleet_part ) {
	require __DIR__ . "/../lib/{$storefleet_part}.php";
}

$storefleet_guard = Guard::hold( Configuration::current() );
if ( ! $storefleet_guard->is_installed() ) {
	$storefleet_guard->let_go();
	run( [ PHP_BINARY, __DIR__ . '/../store.php', 'install' ] );
	$storefleet_guard = Guard::hold( Configuration::current() );
}

Request::pretend( Configuration::current(), '/wp-admin/', '/wp-admin/index.php' );
require '/srv/wordpress/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';

Site::bring_tables_up();
Shop::install();
Shop::bring_tables_up();
Site::is_of( Configuration::current() );
Settings::are_of( Configuration::current() );
Goods::are_on_the_shelves();
Site::has_addresses();
Check::the_shop_is_whole();
Progress::release_is_done();
say( 'setup', sprintf( 'done in %.1f s', $storefleet_ending->seconds() ) );
