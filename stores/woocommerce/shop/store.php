<?php
/**
 * One WooCommerce shop in a container: `store.php <command>`; the commands are the files in commands/.
 *
 * WordPress has to be loaded outside of any function, and so the command's file is.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/lib/configuration.php';
require __DIR__ . '/lib/address.php';
require __DIR__ . '/lib/database.php';
require __DIR__ . '/lib/ending.php';

$storefleet_command  = $argv[1] ?? '';
$storefleet_commands = array_map( static fn ( string $path ): string => basename( $path, '.php' ), glob( __DIR__ . '/commands/*.php' ) );
if ( ! in_array( $storefleet_command, $storefleet_commands, true ) ) {
	fwrite( STDERR, 'store: the command is one of ' . implode( ', ', $storefleet_commands ) . ".\n" );
	exit( 2 );
}
$storefleet_ending = Ending::watch( $storefleet_command );
require __DIR__ . "/commands/{$storefleet_command}.php";
$storefleet_ending->well();
