<?php
/**
 * List the orders placed since a time. WordPress is not loaded, because it may be what is broken.
 *
 * Orders are in their own tables, or among the posts if the owner has chosen so.
 */

declare(strict_types=1);

namespace Storefleet;

require __DIR__ . '/../lib/task.php';

const STOREFLEET_DRAFTS = [ 'auto-draft', 'trash', 'wc-checkout-draft', 'draft' ];
const STOREFLEET_TABLES = "SELECT id, total_amount AS total, currency, date_created_gmt AS at
	FROM wp_wc_orders
	WHERE type = 'shop_order' AND date_created_gmt >= ? AND status NOT IN (?, ?, ?, ?)";
const STOREFLEET_POSTS  = "SELECT p.ID AS id, MAX(IF(m.meta_key = '_order_total', m.meta_value, NULL)) AS total,
		MAX(IF(m.meta_key = '_order_currency', m.meta_value, NULL)) AS currency, p.post_date_gmt AS at
	FROM wp_posts p LEFT JOIN wp_postmeta m ON m.post_id = p.ID
	WHERE p.post_type = 'shop_order' AND p.post_date_gmt >= ? AND p.post_status NOT IN (?, ?, ?, ?)
	GROUP BY p.ID";

$storefleet_database = Database::connect_with_retries( Configuration::load(), Task::TIMEOUT_S );
$storefleet_values   = [ Task::get_since(), ...STOREFLEET_DRAFTS ];
$storefleet_storage  = $storefleet_database->fetch_rows(
	"SELECT option_value FROM wp_options WHERE option_name = 'woocommerce_custom_orders_table_enabled'"
);
$storefleet_orders   = 'yes' === ( $storefleet_storage[0]['option_value'] ?? 'no' )
	? STOREFLEET_TABLES
	: STOREFLEET_POSTS;
Task::write_result(
	[
		'count'  => $storefleet_database->fetch_number(
			"SELECT COUNT(*) FROM ({$storefleet_orders}) orders", $storefleet_values
		),
		'orders' => array_map(
			static fn ( array $row ): array => [
				'number' => (string) $row['id'],
				'total'  => number_format( (float) $row['total'], 2, '.', '' ) . " {$row['currency']}",
				'at'     => str_replace( ' ', 'T', (string) $row['at'] ) . 'Z',
			],
			$storefleet_database->fetch_rows( "{$storefleet_orders} ORDER BY id LIMIT 20", $storefleet_values )
		),
	]
);
