<?php
/**
 * The start-up probe requests a page of the store; until the set-up of this release is done, it
 * gets 503.
 */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class StartupProbe {
	/**
	 * Option with the releases whose set-up is done; older ones stay listed, so that they can keep
	 * serving.
	 */
	public const RELEASES = 'storefleet_releases';

	/** @param array<string, mixed> $server */
	public static function handle( array $server ): void {
		if ( ! isset( $server['HTTP_X_STOREFLEET_PROBE'] ) || self::is_set_up() ) {
			return;
		}
		http_response_code( 503 );
		header( 'Content-Type: text/plain; charset=utf-8' );
		header( 'Cache-Control: no-store' );
		exit( "The set-up of this release has not finished yet.\n" );
	}

	private static function is_set_up(): bool {
		$done = get_option( self::RELEASES, [] );
		return is_array( $done ) && in_array( (string) getenv( 'STORE_RELEASE' ), $done, true );
	}
}
