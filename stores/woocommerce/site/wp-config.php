<?php
/** WordPress's configuration: everything comes from the store's own file and secrets. */

require_once '/opt/storefleet/shop/lib/configuration.php';
require_once '/opt/storefleet/shop/lib/address.php';

( static function (): void {
	$store = \Storefleet\Configuration::current();

	define( 'DB_NAME', $store->text( 'database.name' ) );
	define( 'DB_USER', $store->text( 'database.user' ) );
	define( 'DB_PASSWORD', $store->secret( 'database.password_file' ) );
	define( 'DB_HOST', $store->text( 'database.host' ) );
	define( 'DB_CHARSET', 'utf8mb4' );
	define( 'DB_COLLATE', 'utf8mb4_unicode_520_ci' );

	$key = $store->secret( 'secret_key_file' );
	foreach ( [ 'AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE' ] as $name ) {
		define( "{$name}_KEY", hash_hmac( 'sha256', "{$name}_KEY", $key ) );
		define( "{$name}_SALT", hash_hmac( 'sha256', "{$name}_SALT", $key ) );
	}

	$address = \Storefleet\Address::of( $store, $_SERVER );
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

// The code is the image's: what is new comes as a new version of the store.
define( 'DISALLOW_FILE_MODS', true );
define( 'AUTOMATIC_UPDATER_DISABLED', true );
define( 'CORE_UPGRADE_SKIP_NEW_BUNDLED', true );

// The platform asks for wp-cron.php; visitors do not wait for it.
define( 'DISABLE_WP_CRON', true );

// Nothing is asked of other servers: there is no way to them, and waiting for it would hold pages up.
define( 'WP_HTTP_BLOCK_EXTERNAL', true );

$table_prefix = 'wp_';

if ( ! defined( 'ABSPATH' ) ) {
	define( 'ABSPATH', __DIR__ . '/' );
}
require_once ABSPATH . 'wp-settings.php';
