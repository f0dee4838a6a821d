<?php
/**
 * Bring the store to its configuration from any state: an empty database, the image's template, an
 * interrupted set-up, or a store of an older or newer release. It is idempotent.
 */

declare(strict_types=1);

namespace Storefleet;

foreach ( [
	...[ 'setup-lock', 'request', 'progress', 'wordpress-setup', 'woocommerce-setup' ],
	...[ 'store-settings', 'sample-products', 'setup-check' ],
] as $storefleet_part ) {
	require __DIR__ . "/../lib/{$storefleet_part}.php";
}

$storefleet_lock = SetupLock::acquire( Configuration::load() );
if ( ! $storefleet_lock->is_installed() ) {
	$storefleet_lock->release();
	run_program( [ PHP_BINARY, __DIR__ . '/../store.php', 'install' ] );
	$storefleet_lock = SetupLock::acquire( Configuration::load() );
}

Request::simulate( Configuration::load(), '/wp-admin/', '/wp-admin/index.php' );
require '/srv/wordpress/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';

WordPressSetup::update_tables();
WooCommerceSetup::install();
WooCommerceSetup::update_tables();
WordPressSetup::apply_configuration( Configuration::load() );
StoreSettings::apply( Configuration::load() );
SampleProducts::ensure_created();
WordPressSetup::update_permalinks();
SetupCheck::verify_store();
Progress::record_release();
log_line( 'setup', sprintf( 'finished in %.1f s', $storefleet_termination->get_seconds() ) );
