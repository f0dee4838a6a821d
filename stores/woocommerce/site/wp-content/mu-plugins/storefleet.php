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
require __DIR__ . '/storefleet/outgoing-requests.php';
require __DIR__ . '/storefleet/admin-pages.php';
require __DIR__ . '/storefleet/outbox.php';
require __DIR__ . '/storefleet/outbox-api.php';
require __DIR__ . '/storefleet/mail.php';
require __DIR__ . '/storefleet/mail-wording.php';
require __DIR__ . '/storefleet/restrictions.php';
require __DIR__ . '/storefleet/managed-code.php';
require __DIR__ . '/storefleet/uploads.php';
require __DIR__ . '/storefleet/cart-identity.php';
require __DIR__ . '/storefleet/checkout-lock.php';
require __DIR__ . '/storefleet/checkout-guard.php';
require __DIR__ . '/storefleet/store-api-guard.php';
require __DIR__ . '/storefleet/title.php';

if ( defined( 'STOREFLEET_SETUP' ) ) {
	RequiredPlugin::load_in_setup();
}
Health::handle( $_SERVER );
OutboxApi::handle( Configuration::load(), $_SERVER, $_GET );
OutgoingRequests::register_hooks( Configuration::load() );
AdminPages::register_hooks();
Mail::register_hooks();
MailWording::register_hooks();
Restrictions::register_hooks();
ManagedCode::register_hooks();
Uploads::register_hooks();
CheckoutGuard::register_hooks();
Title::register_hooks();
