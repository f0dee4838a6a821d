<?php
/** The guard of checkouts for WooCommerce's Store API, also inside its batch requests. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class StoreApiGuard {
	private const ROUTES   = '~^/wc/store(?:/v[0-9]+)?/(cart|checkout)(?:/|$)~';
	private const CHECKOUT = '~^/wc/store(?:/v[0-9]+)?/checkout(?:/([0-9]+))?$~';
	private const HEADERS  = [ 'Nonce', 'Nonce-Timestamp', 'User-ID', 'Cart-Token', 'Cart-Hash' ];

	public static function register_hooks(): void {
		add_filter( 'rest_dispatch_request', [ self::class, 'lock_request' ], PHP_INT_MIN, 2 );
		add_filter( 'rest_request_after_callbacks', [ self::class, 'finish_request' ], PHP_INT_MAX, 3 );
	}

	/** Lock the cart before its route loads the session; return the answer of an earlier checkout. */
	public static function lock_request( mixed $result, \WP_REST_Request $request ): mixed {
		if ( null !== $result || 'GET' === $request->get_method() || 1 !== preg_match( self::ROUTES, $request->get_route() ) ) {
			return $result;
		}
		$order   = self::get_order_of_route( $request );
		$subject = null === $order ? CartIdentity::find() : 'order ' . $order;
		if ( null === $subject ) {
			return $result;
		}
		if ( ! CheckoutGuard::lock( $subject ) ) {
			return new \WP_Error( 'storefleet_cart_busy', CheckoutGuard::BUSY, [ 'status' => 409 ] );
		}
		if ( ! self::is_checkout( $request ) ) {
			return $result;
		}
		$answer = CheckoutGuard::get_lock()?->find_answer( false );
		if ( null !== $answer ) {
			return self::make_response( $answer );
		}
		return null === $order && null !== CheckoutGuard::get_lock()?->find_abandoned_order()
			? self::finish_abandoned_order()
			: $result;
	}

	/**
	 * Record the answer of a successful checkout; replace the error about an empty cart by the answer
	 * of the checkout that emptied it.
	 *
	 * @param mixed $response
	 * @param mixed $_handler
	 */
	public static function finish_request( $response, $_handler, \WP_REST_Request $request ): mixed {
		unset( $_handler );
		$lock = CheckoutGuard::get_lock();
		if ( null === $lock || ! $response instanceof \WP_REST_Response || ! self::is_checkout( $request ) ) {
			return $response;
		}
		$data = (array) $response->get_data();
		if ( 'woocommerce_rest_cart_empty' === ( $data['code'] ?? '' ) || 'invalid_order_update_status' === ( $data['code'] ?? '' ) ) {
			$answer = $lock->find_answer( true );
			return null === $answer ? $response : self::make_response( $answer );
		}
		$payment = (array) ( $data['payment_result'] ?? [] );
		if ( 200 === $response->get_status() && in_array( $payment['payment_status'] ?? '', [ 'success', 'pending' ], true ) ) {
			$headers = array_intersect_key( $response->get_headers(), array_flip( self::HEADERS ) );
			$order   = (int) ( $data['order_id'] ?? 0 );
			$lock->record_answer(
				$order,
				[
					'order'    => $order,
					'redirect' => (string) ( $payment['redirect_url'] ?? '' ),
					// The data has objects of WooCommerce; the answer needs their JSON only.
					'data'     => (array) json_decode( (string) wp_json_encode( $data ) ),
					'headers'  => $headers,
				]
			);
		}
		return $response;
	}

	/** @param array<string, mixed> $answer */
	private static function make_response( array $answer ): \WP_REST_Response|\WP_Error {
		if ( ! isset( $answer['data'] ) ) {
			$order = wc_get_order( (int) $answer['order'] );
			return $order instanceof \WC_Order ? self::make_order_response( $order ) : self::make_placed_error();
		}
		$response = new \WP_REST_Response( $answer['data'], 200, $answer['headers'] );
		$response->header( 'Cache-Control', 'no-store' );
		return $response;
	}

	/** Complete what a killed request left: the cart of an order that was accepted. */
	private static function finish_abandoned_order(): \WP_REST_Response|\WP_Error|null {
		if ( CartIdentity::has_cart_token() ) {
			add_filter( 'woocommerce_session_handler', static fn (): string => ltrim( CartIdentity::API_SESSIONS, '\\' ) );
		}
		wc_load_cart();
		$order = CheckoutGuard::find_abandoned_order();
		if ( null === $order ) {
			return null;
		}
		wc_empty_cart();
		return self::make_order_response( $order );
	}

	private static function make_order_response( \WC_Order $order ): \WP_REST_Response|\WP_Error {
		try {
			$api    = '\Automattic\WooCommerce\StoreApi';
			$schema = "{$api}\\StoreApi"::container()->get( ltrim( "{$api}\\SchemaController", '\\' ) )->get( 'checkout' );
			$class  = "{$api}\\Payments\\PaymentResult";
			$result = new $class( 'success' );
			$result->set_redirect_url( $order->get_checkout_order_received_url() );
			return new \WP_REST_Response(
				$schema->get_item_response( (object) [ 'order' => $order, 'payment_result' => $result ] )
			);
		} catch ( \Throwable $error ) {
			error_log( "The answer of order {$order->get_id()} cannot be made again: {$error->getMessage()}" );
			return self::make_placed_error();
		}
	}

	private static function make_placed_error(): \WP_Error {
		return new \WP_Error( 'storefleet_order_placed', 'Your order was received already.', [ 'status' => 409 ] );
	}

	private static function is_checkout( \WP_REST_Request $request ): bool {
		return 'POST' === $request->get_method() && 1 === preg_match( self::CHECKOUT, $request->get_route() );
	}

	private static function get_order_of_route( \WP_REST_Request $request ): ?string {
		preg_match( self::CHECKOUT, $request->get_route(), $found );
		return $found[1] ?? null;
	}
}
