<?php
/** Which orders came in since a moment; WordPress is not loaded, for it may be what does not work. */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/task.php';

const STOREFLEET_DRAFTS = [ 'auto-draft', 'trash', 'wc-checkout-draft', 'draft' ];

$storefleet_database = Database::wait_for( Configuration::current(), Task::PATIENCE );
$storefleet_where    = "FROM wp_wc_orders WHERE type = 'shop_order' AND date_created_gmt >= ? AND status NOT IN (?, ?, ?, ?)";
$storefleet_values   = [ Task::since(), ...STOREFLEET_DRAFTS ];
$storefleet_rows     = $storefleet_database->rows( "SELECT id, total_amount, currency, date_created_gmt {$storefleet_where} ORDER BY id LIMIT 20", $storefleet_values );
Task::tell(
	[
		'count'  => $storefleet_database->number( "SELECT COUNT(*) {$storefleet_where}", $storefleet_values ),
		'orders' => array_map(
			static fn ( array $row ): array => [
				'number' => (string) $row['id'],
				'total'  => number_format( (float) $row['total_amount'], 2, '.', '' ) . " {$row['currency']}",
				'at'     => str_replace( ' ', 'T', (string) $row['date_created_gmt'] ) . 'Z',
			],
			$storefleet_rows
		),
	]
);
