<?php
/**
 * Bring the store to its release from any state: an empty database, the image's template, an
 * interrupted set-up, or a store of an older or newer release. It is idempotent.
 *
 * A new store (mode install) is made completely. A store that has an owner (mode update) gets the
 * tables of this release, and nothing that its owner can set is read, required or changed.
 */

declare(strict_types=1);

namespace Storefleet;

foreach ( [
	...[ 'setup-mode', 'setup-lock', 'request', 'progress', 'template-text', 'template-traces' ],
	...[ 'wordpress-setup', 'woocommerce-setup', 'store-settings', 'sample-products', 'setup-check' ],
] as $storefleet_part ) {
	require __DIR__ . "/../lib/{$storefleet_part}.php";
}

$storefleet_mode = SetupMode::read();
$storefleet_lock = SetupLock::acquire( Configuration::load() );
if ( ! $storefleet_lock->is_installed() ) {
	if ( SetupMode::Update === $storefleet_mode ) {
		throw new PermanentError(
			'The database contains no installed store to update. Restore a dump, or create the store again.'
		);
	}
	$storefleet_lock->release();
	run_program( [ PHP_BINARY, __DIR__ . '/../store.php', 'install' ] );
	$storefleet_lock = SetupLock::acquire( Configuration::load() );
}
$storefleet_termination->retry_unless( [ $storefleet_lock, 'is_held' ] );
if ( SetupMode::Install === $storefleet_mode ) {
	TemplateTraces::remove( Database::connect( Configuration::load() ), Configuration::load() );
}

define( 'STOREFLEET_SETUP', $storefleet_mode->value );
Request::simulate( Configuration::load(), '/wp-admin/', '/wp-admin/index.php' );
require '/srv/wordpress/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/admin.php';

WordPressSetup::update_tables();
WooCommerceSetup::update_version();
WooCommerceSetup::update_tables();
WordPressSetup::apply_address( Configuration::load() );
if ( SetupMode::Install === $storefleet_mode ) {
	WooCommerceSetup::make_new_store();
	WordPressSetup::make_new_store( Configuration::load() );
	StoreSettings::apply( Configuration::load() );
	SampleProducts::ensure_created();
}
WordPressSetup::update_permalinks();
SetupCheck::verify_tables();
if ( SetupMode::Install === $storefleet_mode ) {
	Progress::run_once( 'verified', [ SetupCheck::class, 'verify_new_store' ] );
}
Progress::record_release();
log_line(
	'setup',
	sprintf( '%s finished in %.1f s', $storefleet_mode->value, $storefleet_termination->get_seconds() )
);
