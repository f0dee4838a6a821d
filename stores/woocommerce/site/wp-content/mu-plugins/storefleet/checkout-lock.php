<?php
/**
 * One checkout of a cart at a time: a lock in the database, and a record of the last checkout.
 *
 * WooCommerce reads the cart when a request begins and empties it when the order is placed, so
 * requests that arrive together would each place an order. The lock belongs to the database
 * connection: MariaDB releases it when the request ends or its process is killed.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class CheckoutLock {
	private const WAIT_S     = 20;
	private const REMEMBER_S = 900;
	private const NAME       = 'storefleet_checkout_';
	/** Statuses of orders that were not accepted: WooCommerce continues or replaces them. */
	private const OPEN_STATUSES = [ 'pending', 'failed', 'cancelled', 'checkout-draft', 'trash', 'auto-draft' ];

	private function __construct( private readonly string $name ) {}

	/**
	 * Acquire the lock of a cart or an order, waiting for the request that has it; null if that
	 * request still has it after the time limit.
	 */
	public static function acquire( string $subject ): ?self {
		global $wpdb;
		$lock   = new self( self::NAME . md5( $subject ) );
		$result = $wpdb->get_var( $wpdb->prepare( 'SELECT GET_LOCK(%s, %d)', $lock->name, self::WAIT_S ) );
		return '1' === $result ? $lock : null;
	}

	/** Record that an order was created: its request may die before it answers. */
	public function record_order( int $order ): void {
		$this->write( [ 'order' => $order, 'answer' => null ] );
	}

	/** @param array<string, mixed> $answer */
	public function record_answer( int $order, array $answer ): void {
		$this->write( [ 'order' => $order, 'answer' => $answer ] );
	}

	/**
	 * Return the answer of a checkout that ended while this one waited; with an empty cart, that of
	 * the last checkout.
	 *
	 * @return array<string, mixed>|null
	 */
	public function find_answer( bool $is_cart_empty ): ?array {
		$record  = $this->read();
		$arrival = (float) ( $_SERVER['REQUEST_TIME_FLOAT'] ?? 0 );
		if ( null === $record || ! is_array( $record['answer'] ?? null ) ) {
			return null;
		}
		return $is_cart_empty || $record['at'] >= $arrival ? $record['answer'] : null;
	}

	/** Return an accepted order whose request died before it answered and emptied the cart. */
	public function find_abandoned_order(): ?\WC_Order {
		$record = $this->read();
		if ( null === $record || null !== $record['answer'] ) {
			return null;
		}
		$order = wc_get_order( (int) $record['order'] );
		return $order instanceof \WC_Order && ! $order->has_status( self::OPEN_STATUSES ) ? $order : null;
	}

	/** @param array<string, mixed> $record */
	private function write( array $record ): void {
		set_transient( $this->name, $record + [ 'at' => microtime( true ) ], self::REMEMBER_S );
	}

	/** @return array<string, mixed>|null */
	private function read(): ?array {
		$record = get_transient( $this->name );
		return is_array( $record ) ? $record : null;
	}
}
