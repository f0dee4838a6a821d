<?php
/**
 * Plugin Name: Storefleet
 * Description: Adapts WordPress and WooCommerce to run as a Storefleet store.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

require __DIR__ . '/storefleet/probe.php';
require __DIR__ . '/storefleet/mail.php';
require __DIR__ . '/storefleet/restrictions.php';

StartupProbe::handle( $_SERVER );
Mail::configure( Configuration::load() );
Restrictions::register_hooks();
