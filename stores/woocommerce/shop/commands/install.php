<?php
/** Install WordPress into an empty database; after a kill it starts over. `setup` calls it. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/setup-lock.php';
require __DIR__ . '/../lib/request.php';
require __DIR__ . '/../lib/template-text.php';
require __DIR__ . '/../lib/template-traces.php';

$storefleet_lock = SetupLock::acquire( Configuration::load() );
if ( $storefleet_lock->is_installed() ) {
	return;
}
$storefleet_lock->start_installation();

define( 'WP_INSTALLING', true );
Request::simulate( Configuration::load(), '/wp-admin/install.php', '/wp-admin/install.php' );
require '/srv/wordpress/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

// The installer would request a page from its own URL, and send mail to the new administrator.
add_filter( 'pre_http_request', static fn (): \WP_Error => new \WP_Error( 'offline', 'not now' ) );
add_filter( 'pre_wp_mail', '__return_true' );
$storefleet_password = wp_generate_password( 40 );
$storefleet_result   = wp_install(
	'Shop',
	TemplateTraces::USER,
	TemplateTraces::EMAIL,
	true,
	'',
	$storefleet_password
);
if ( is_wp_error( $storefleet_result ) || empty( $storefleet_result['user_id'] ) ) {
	throw new \RuntimeException( 'WordPress cannot be installed.' );
}
$storefleet_posts = get_posts(
	[ 'post_type' => [ 'post', 'page' ], 'post_status' => 'any', 'numberposts' => -1 ]
);
foreach ( $storefleet_posts as $storefleet_post ) {
	wp_delete_post( $storefleet_post->ID, true );
}
foreach (
	[
		'active_plugins'         => [ 'woocommerce/woocommerce.php' ],
		'permalink_structure'    => '/%postname%/',
		'default_comment_status' => 'closed',
		'default_ping_status'    => 'closed',
		'users_can_register'     => 0,
		'show_avatars'           => 0,
		'storefleet_template'    => (int) $storefleet_result['user_id'],
		// Set before the plugin is active: it would hide the storefront, start its onboarding and send
		// usage data.
		'woocommerce_coming_soon'        => 'no',
		'woocommerce_store_pages_only'   => 'no',
		'woocommerce_allow_tracking'     => 'no',
		'woocommerce_onboarding_profile' => [ 'completed' => true, 'skipped' => true ],
	] as $storefleet_name => $storefleet_value
) {
	update_option( $storefleet_name, $storefleet_value );
}
TemplateTraces::mark( Database::connect( Configuration::load() ), time(), time() );
$storefleet_lock->mark_installed();
log_line( 'install', sprintf( 'WordPress %s is installed', get_bloginfo( 'version' ) ) );
