<?php
/**
 * Plugin Name: Storefleet
 * Description: Adapts WordPress and WooCommerce to run as a Storefleet store.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

require __DIR__ . '/storefleet/releases.php';
require __DIR__ . '/storefleet/required-plugin.php';
require __DIR__ . '/storefleet/health.php';
require __DIR__ . '/storefleet/loopback.php';
require __DIR__ . '/storefleet/mail.php';
require __DIR__ . '/storefleet/restrictions.php';

if ( defined( 'STOREFLEET_SETUP' ) ) {
	RequiredPlugin::load_in_setup();
}
Health::handle( $_SERVER );
Loopback::register_hooks( Configuration::load() );
Mail::configure( Configuration::load() );
Restrictions::register_hooks();
