<?php
/** The start-up probe asks for the shop's own page; while the set-up of this release is not done, it is told so. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Probe {
	/** Releases whose set-up has been done for this store; older ones stay in it, and so can go on serving. */
	public const RELEASES = 'storefleet_releases';

	/** @param array<string, mixed> $server */
	public static function answer( array $server ): void {
		if ( ! isset( $server['HTTP_X_STOREFLEET_PROBE'] ) || self::is_set_up() ) {
			return;
		}
		http_response_code( 503 );
		header( 'Content-Type: text/plain; charset=utf-8' );
		header( 'Cache-Control: no-store' );
		exit( "The set-up of this release is not done yet.\n" );
	}

	private static function is_set_up(): bool {
		$done = get_option( self::RELEASES, [] );
		return is_array( $done ) && in_array( (string) getenv( 'STORE_RELEASE' ), $done, true );
	}
}
