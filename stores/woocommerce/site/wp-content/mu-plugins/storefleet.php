<?php
/**
 * Plugin Name: Storefleet
 * Description: What a shop in a store of Storefleet does otherwise than one on a machine of its own.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

require __DIR__ . '/storefleet/probe.php';
require __DIR__ . '/storefleet/mail.php';
require __DIR__ . '/storefleet/quiet.php';

Probe::answer( $_SERVER );
Mail::arrange( Configuration::current() );
Quiet::arrange();
