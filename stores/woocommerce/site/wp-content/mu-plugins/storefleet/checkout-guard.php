<?php
/**
 * Place one order per cart, however often its checkout is sent: by the Store API, by the classic
 * checkout and by the page that pays an order. Later requests get the answer of the first.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class CheckoutGuard {
	public const BUSY = 'Your order is being processed. Please wait a minute and look at your cart before you order again.';

	private static ?CheckoutLock $lock = null;
	private static bool $is_locked     = false;

	public static function register_hooks(): void {
		add_action( 'init', [ self::class, 'lock_page_request' ], PHP_INT_MIN );
		add_action( 'wp_loaded', [ self::class, 'repeat_form_answer' ], 19 );
		add_action( 'wc_ajax_checkout', [ self::class, 'repeat_ajax_answer' ], 1 );
		add_action( 'wp_ajax_woocommerce_checkout', [ self::class, 'repeat_ajax_answer' ], 1 );
		add_action( 'wp_ajax_nopriv_woocommerce_checkout', [ self::class, 'repeat_ajax_answer' ], 1 );
		add_action( 'wp', [ self::class, 'repeat_payment_answer' ], 19 );
		add_action( 'woocommerce_checkout_order_processed', [ self::class, 'record_order' ], PHP_INT_MIN );
		add_action( 'woocommerce_store_api_checkout_order_processed', [ self::class, 'record_order' ], PHP_INT_MIN );
		add_filter( 'woocommerce_payment_successful_result', [ self::class, 'record_result' ], PHP_INT_MAX, 2 );
		add_filter( 'woocommerce_checkout_no_payment_needed_redirect', [ self::class, 'record_redirect' ], PHP_INT_MAX, 2 );
		StoreApiGuard::register_hooks();
	}

	/** Acquire the lock before WooCommerce reads the session, which it does at `init`. */
	public static function lock_page_request(): void {
		if ( ! function_exists( 'WC' ) || 'POST' !== ( $_SERVER['REQUEST_METHOD'] ?? '' ) ) {
			return;
		}
		if ( isset( $_POST['woocommerce_pay'] ) ) {
			$subject = self::get_payment_subject();
		} elseif ( isset( $_GET['wc-ajax'] ) || isset( $_POST['update_cart'] ) || isset( $_POST['add-to-cart'] ) || self::is_checkout() ) {
			$subject = CartIdentity::find();
		}
		if ( null !== ( $subject ?? null ) && ! self::lock( $subject ) && ( self::is_checkout() || isset( $_POST['woocommerce_pay'] ) ) ) {
			self::answer_busy();
		}
	}

	/** Acquire a lock for this request, at most one; return false if another request keeps it. */
	public static function lock( string $subject ): bool {
		if ( ! self::$is_locked ) {
			self::$lock      = CheckoutLock::acquire( $subject );
			self::$is_locked = null !== self::$lock;
		}
		return self::$is_locked;
	}

	public static function get_lock(): ?CheckoutLock {
		return self::$lock;
	}

	/** Answer a repeated form of the classic checkout, before WooCommerce sends it to an empty cart. */
	public static function repeat_form_answer(): void {
		if ( isset( $_POST['woocommerce_checkout_place_order'] ) && ! isset( $_GET['wc-ajax'] ) ) {
			$answer = self::find_page_answer();
			if ( null !== $answer ) {
				self::redirect( (string) $answer['redirect'] );
			}
		}
	}

	public static function repeat_ajax_answer(): void {
		$answer = self::find_page_answer();
		if ( null !== $answer ) {
			wp_send_json( [ 'result' => 'success', 'redirect' => $answer['redirect'], 'order_id' => $answer['order'] ] );
		}
	}

	/** Answer a repeated payment of an order to whoever has the order's key. */
	public static function repeat_payment_answer(): void {
		if ( null === self::$lock || ! isset( $_POST['woocommerce_pay'], $_GET['key'] ) ) {
			return;
		}
		$order  = wc_get_order( absint( get_query_var( 'order-pay' ) ) );
		$is_own = $order instanceof \WC_Order && hash_equals( $order->get_order_key(), (string) wp_unslash( $_GET['key'] ) );
		$answer = $is_own ? self::$lock->find_answer( ! $order->needs_payment() ) : null;
		if ( null !== $answer ) {
			self::redirect( (string) $answer['redirect'] );
		}
	}

	/** Record the order and save the session, so that after a kill WooCommerce continues this order. */
	public static function record_order( int|\WC_Order $order ): void {
		if ( null !== self::$lock ) {
			self::$lock->record_order( $order instanceof \WC_Order ? $order->get_id() : $order );
			WC()->session?->save_data();
		}
	}

	/**
	 * @param mixed $result
	 * @param mixed $order
	 */
	public static function record_result( $result, $order ): mixed {
		if ( is_array( $result ) && is_string( $result['redirect'] ?? null ) ) {
			self::$lock?->record_answer( (int) $order, [ 'order' => (int) $order, 'redirect' => $result['redirect'] ] );
		}
		return $result;
	}

	/**
	 * @param mixed $redirect
	 * @param mixed $order
	 */
	public static function record_redirect( $redirect, $order ): mixed {
		if ( is_string( $redirect ) && $order instanceof \WC_Order ) {
			self::$lock?->record_answer( $order->get_id(), [ 'order' => $order->get_id(), 'redirect' => $redirect ] );
		}
		return $redirect;
	}

	/** @return array<string, mixed>|null */
	private static function find_page_answer(): ?array {
		if ( null === self::$lock || null === WC()->cart ) {
			return null;
		}
		$answer = self::$lock->find_answer( WC()->cart->is_empty() );
		$order  = null === $answer ? self::find_abandoned_order() : null;
		if ( null !== $order ) {
			wc_empty_cart();
			$answer = [ 'order' => $order->get_id(), 'redirect' => $order->get_checkout_order_received_url() ];
			self::$lock->record_answer( $order->get_id(), $answer );
		}
		return $answer;
	}

	/** Return the order that a killed request accepted for exactly the loaded cart. */
	public static function find_abandoned_order(): ?\WC_Order {
		$order = self::$lock?->find_abandoned_order();
		return null !== $order && $order->has_cart_hash( WC()->cart->get_cart_hash() ) ? $order : null;
	}

	private static function is_checkout(): bool {
		return isset( $_POST['woocommerce_checkout_place_order'] )
			|| 'checkout' === ( $_GET['wc-ajax'] ?? '' )
			|| 'woocommerce_checkout' === ( $_REQUEST['action'] ?? '' );
	}

	/** The number of the order is in the path; its key in the query is unique. */
	private static function get_payment_subject(): ?string {
		$key = $_GET['key'] ?? '';
		return is_string( $key ) && '' !== $key ? "payment {$key}" : null;
	}

	private static function answer_busy(): never {
		header( 'Retry-After: 30' );
		if ( isset( $_GET['wc-ajax'] ) || wp_doing_ajax() ) {
			$message = '<div class="woocommerce-error" role="alert">' . esc_html( self::BUSY ) . '</div>';
			wp_send_json( [ 'result' => 'failure', 'messages' => $message, 'refresh' => false, 'reload' => false ] );
		}
		wp_die( esc_html( self::BUSY ), '', [ 'response' => 409 ] );
	}

	private static function redirect( string $url ): never {
		nocache_headers();
		wp_redirect( $url );
		exit;
	}
}
