<?php
/**
 * Record which set-up steps are done, as options in the store's own database; the rest is up to the
 * owner.
 */

declare(strict_types=1);

namespace Storefleet;

final class Progress {
	private const PREFIX = 'storefleet_once_';

	/**
	 * Run a step unless it is recorded as done. It must be idempotent: a kill may come before the
	 * record.
	 */
	public static function run_once( string $name, callable $work ): void {
		if ( self::read_mark( $name ) === 'done' ) {
			return;
		}
		$work();
		self::write_mark( $name, 'done' );
	}

	/** Run a step unless it is recorded as done for this value. */
	public static function run_on_change( string $name, string $value, callable $work ): void {
		$mark = hash( 'sha256', $value );
		if ( self::read_mark( $name ) === $mark ) {
			return;
		}
		$work();
		self::write_mark( $name, $mark );
	}

	/** Record that the set-up of this release is done, which start-up and readiness probes wait for. */
	public static function record_release(): void {
		$releases = get_option( Releases::OPTION, [] );
		$releases = is_array( $releases ) ? $releases : [];
		$releases = [ ...array_diff( $releases, [ self::get_release() ] ), self::get_release() ];
		update_option( Releases::OPTION, array_slice( $releases, -20 ), true );
		if ( ! Releases::is_set_up( get_option( Releases::OPTION ) ) ) {
			throw new \RuntimeException( 'The database did not keep the record of this release.' );
		}
	}

	public static function get_release(): string {
		return getenv( 'STORE_RELEASE' )
			?: throw new PermanentError( 'STORE_RELEASE is not set. The image must set it.' );
	}

	private static function read_mark( string $name ): string {
		return (string) get_option( self::PREFIX . $name, '' );
	}

	private static function write_mark( string $name, string $value ): void {
		update_option( self::PREFIX . $name, $value, false );
	}
}
