<?php
/** WordPress's configuration, taken from the store's configuration file and secrets. */

require_once '/opt/storefleet/shop/lib/configuration.php';
require_once '/opt/storefleet/shop/lib/address.php';

( static function (): void {
	$store = \Storefleet\Configuration::load();

	define( 'DB_NAME', $store->get_text( 'database.name' ) );
	define( 'DB_USER', $store->get_text( 'database.user' ) );
	define( 'DB_PASSWORD', $store->read_secret( 'database.password_file' ) );
	define( 'DB_HOST', $store->get_text( 'database.host' ) );
	define( 'DB_CHARSET', 'utf8mb4' );
	define( 'DB_COLLATE', 'utf8mb4_unicode_520_ci' );

	$key = $store->read_secret( 'secret_key_file' );
	foreach ( [ 'AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE' ] as $name ) {
		define( "{$name}_KEY", hash_hmac( 'sha256', "{$name}_KEY", $key ) );
		define( "{$name}_SALT", hash_hmac( 'sha256', "{$name}_SALT", $key ) );
	}

	$address = \Storefleet\Address::resolve( $store, $_SERVER );
	define( 'WP_HOME', $address );
	define( 'WP_SITEURL', $address );
	$_SERVER['HTTP_HOST'] = substr( strstr( $address, '://' ), 3 );
	if ( str_starts_with( $address, 'https:' ) ) {
		$_SERVER['HTTPS'] = 'on';
	} else {
		unset( $_SERVER['HTTPS'] );
	}
} )();

define( 'WP_DEBUG', false );
define( 'WP_DEFAULT_THEME', 'storefleet' );
define( 'WP_MEMORY_LIMIT', '128M' );
define( 'WP_MAX_MEMORY_LIMIT', '256M' );
define( 'WP_POST_REVISIONS', 5 );
define( 'EMPTY_TRASH_DAYS', 14 );
define( 'FS_METHOD', 'direct' );

// The code is part of the image; updates come as a new version of the store.
define( 'DISALLOW_FILE_MODS', true );
define( 'AUTOMATIC_UPDATER_DISABLED', true );
define( 'CORE_UPGRADE_SKIP_NEW_BUNDLED', true );

// The platform's cron calls request wp-cron.php, so that visitors do not wait for it.
define( 'DISABLE_WP_CRON', true );

// Outgoing requests are blocked: the network policy denies them, and timeouts would delay pages.
define( 'WP_HTTP_BLOCK_EXTERNAL', true );

$table_prefix = 'wp_';

if ( ! defined( 'ABSPATH' ) ) {
	define( 'ABSPATH', __DIR__ . '/' );
}
require_once ABSPATH . 'wp-settings.php';
