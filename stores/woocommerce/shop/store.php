<?php
/**
 * Command line of a WooCommerce store in a container: `store.php <command>`. The commands are the
 * files in commands/.
 *
 * WordPress must be loaded outside of any function, so the command's file is included at the top
 * level.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/lib/configuration.php';
require __DIR__ . '/lib/address.php';
require __DIR__ . '/lib/database.php';
require __DIR__ . '/lib/termination.php';

$storefleet_command  = $argv[1] ?? '';
$storefleet_commands = array_map(
	static fn ( string $path ): string => basename( $path, '.php' ),
	glob( __DIR__ . '/commands/*.php' )
);
if ( ! in_array( $storefleet_command, $storefleet_commands, true ) ) {
	fwrite(
		STDERR, 'store: unknown command. Use one of ' . implode( ', ', $storefleet_commands ) . ".\n"
	);
	exit( 2 );
}
$storefleet_termination = Termination::watch( $storefleet_command );
require __DIR__ . "/commands/{$storefleet_command}.php";
$storefleet_termination->succeed();
