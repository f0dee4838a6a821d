<?php
/**
 * Arguments and result of a task: environment variables, and the container's termination message.
 */

declare(strict_types=1);

namespace Storefleet;

final class Task {
	public const TIMEOUT_S          = 60;
	private const RESULT_LENGTH_MAX = 4096;

	/** Return the name of the requested dump. */
	public static function get_dump_name(): string {
		$name = (string) getenv( 'STOREFLEET_DUMP' );
		if ( 1 !== preg_match( '/^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/D', $name ) ) {
			throw new PermanentError(
				'STOREFLEET_DUMP is not a valid name of a dump. The platform sets it.'
			);
		}
		return $name;
	}

	/** Return the time since when orders count, in the database's format. */
	public static function get_since(): string {
		$text   = (string) getenv( 'STOREFLEET_SINCE' );
		$moment = 1 === preg_match( '/^\d{4}-\d\d-\d\dT/', $text ) ? date_create_immutable( $text ) : false;
		if ( false === $moment ) {
			throw new PermanentError(
				'STOREFLEET_SINCE is not a time such as 2026-01-31T12:00:00Z. The platform sets it.'
			);
		}
		return $moment->setTimezone( new \DateTimeZone( 'UTC' ) )->format( 'Y-m-d H:i:s' );
	}

	/**
	 * Write the result to the termination message, where the platform reads it.
	 *
	 * @param array<string, mixed> $result
	 */
	public static function write_result( array $result ): void {
		$text = (string) json_encode( $result, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES );
		if ( strlen( $text ) > self::RESULT_LENGTH_MAX ) {
			throw new \RuntimeException( 'The result is longer than a termination message.' );
		}
		$file = getenv( 'STOREFLEET_RESULT' ) ?: '/dev/termination-log';
		if ( false === file_put_contents( $file, $text ) ) {
			throw new \RuntimeException( 'The result cannot be written.' );
		}
		log_line( 'task', $text );
	}
}
