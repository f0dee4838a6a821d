<?php
/** Identify the cart of a request before WooCommerce reads it. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class CartIdentity {
	private const CART_TOKENS = '\Automattic\WooCommerce\StoreApi\Utilities\CartTokenUtils';
	public const API_SESSIONS = '\Automattic\WooCommerce\StoreApi\SessionHandler';

	/** Return WooCommerce's id of the customer, or null if the request has no valid cart. */
	public static function find(): ?string {
		if ( self::has_cart_token() ) {
			$payload = self::CART_TOKENS::get_cart_token_payload( self::read_cart_token() );
			return (string) $payload['user_id'];
		}
		if ( is_user_logged_in() ) {
			return (string) get_current_user_id();
		}
		$class    = apply_filters( 'woocommerce_session_handler', 'WC_Session_Handler' );
		$sessions = is_string( $class ) && class_exists( $class ) ? new $class() : null;
		$cookie   = is_callable( [ $sessions, 'get_session_cookie' ] ) ? $sessions->get_session_cookie() : false;
		return is_array( $cookie ) && '' !== (string) $cookie[0] ? (string) $cookie[0] : null;
	}

	public static function has_cart_token(): bool {
		$token = self::read_cart_token();
		return '' !== $token
			&& is_callable( [ self::CART_TOKENS, 'validate_cart_token' ] )
			&& self::CART_TOKENS::validate_cart_token( $token );
	}

	/** Read the header as WooCommerce's session handler of the Store API does. */
	private static function read_cart_token(): string {
		return (string) wc_clean( wp_unslash( $_SERVER['HTTP_CART_TOKEN'] ?? '' ) );
	}
}
