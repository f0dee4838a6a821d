<?php
/**
 * List the orders placed since a time. WordPress is not loaded, because it may be what is broken.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/task.php';

const STOREFLEET_DRAFTS = [ 'auto-draft', 'trash', 'wc-checkout-draft', 'draft' ];

$storefleet_database = Database::connect_with_retries( Configuration::load(), Task::TIMEOUT_S );
$storefleet_where    = "FROM wp_wc_orders
	WHERE type = 'shop_order' AND date_created_gmt >= ? AND status NOT IN (?, ?, ?, ?)";
$storefleet_values   = [ Task::get_since(), ...STOREFLEET_DRAFTS ];
$storefleet_rows     = $storefleet_database->fetch_rows(
	"SELECT id, total_amount, currency, date_created_gmt {$storefleet_where} ORDER BY id LIMIT 20",
	$storefleet_values
);
Task::write_result(
	[
		'count'  => $storefleet_database->fetch_number( "SELECT COUNT(*) {$storefleet_where}", $storefleet_values ),
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
