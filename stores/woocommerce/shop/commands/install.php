<?php
/** WordPress into an empty database, all or nothing; `setup` calls it, and then makes a shop of it. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/guard.php';
require __DIR__ . '/../lib/request.php';

$storefleet_guard = Guard::hold( Configuration::current() );
if ( $storefleet_guard->is_installed() ) {
	return;
}
$storefleet_guard->begin();

define( 'WP_INSTALLING', true );
Request::pretend( Configuration::current(), '/wp-admin/install.php', '/wp-admin/install.php' );
require '/srv/wordpress/wp-load.php';
require_once ABSPATH . 'wp-admin/includes/upgrade.php';

// The installer would ask its own address for a page, and write to whom it makes the administrator.
add_filter( 'pre_http_request', static fn (): \WP_Error => new \WP_Error( 'offline', 'not now' ) );
add_filter( 'pre_wp_mail', '__return_true' );
$storefleet_result = wp_install( 'Shop', 'storefleet-template', 'nobody@example.invalid', true, '', wp_generate_password( 40 ) );
if ( is_wp_error( $storefleet_result ) || empty( $storefleet_result['user_id'] ) ) {
	throw new \RuntimeException( 'WordPress could not be installed' );
}
foreach ( get_posts( [ 'post_type' => [ 'post', 'page' ], 'post_status' => 'any', 'numberposts' => -1 ] ) as $storefleet_sample ) {
	wp_delete_post( $storefleet_sample->ID, true );
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
		// Before the plugin is there: it would hide the shop, ask questions first, and tell others about it.
		'woocommerce_coming_soon'        => 'no',
		'woocommerce_store_pages_only'   => 'no',
		'woocommerce_allow_tracking'     => 'no',
		'woocommerce_onboarding_profile' => [ 'completed' => true, 'skipped' => true ],
	] as $storefleet_name => $storefleet_value
) {
	update_option( $storefleet_name, $storefleet_value );
}
$storefleet_guard->installed();
say( 'install', sprintf( 'WordPress %s is installed', get_bloginfo( 'version' ) ) );
