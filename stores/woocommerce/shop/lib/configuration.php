<?php
/** The store's configuration: one JSON file, and secrets in files that it names. */

declare(strict_types=1);

namespace Storefleet;

/** A retry would fail in the same way; the program exits with status 2. */
final class PermanentError extends \RuntimeException {}

final class Configuration {
	private static ?self $current = null;

	/** @param array<string, mixed> $content */
	private function __construct( private readonly array $content ) {}

	/** Read the file that STORE_CONFIG names, once per process; throws PermanentError. */
	public static function load(): self {
		return self::$current ??= self::read_file( getenv( 'STORE_CONFIG' ) ?: '/etc/storefleet/store.json' );
	}

	private static function read_file( string $path ): self {
		$text    = is_file( $path ) ? file_get_contents( $path ) : false;
		$content = false === $text ? null : json_decode( $text, true, 20 );
		if ( ! is_array( $content ) ) {
			throw new PermanentError(
				"The store's configuration $path is missing or is not a JSON object. Correct the chart's ConfigMap."
			);
		}
		return new self( $content );
	}

	/** Return the text at a path such as "database.host"; throws PermanentError. */
	public function get_text( string $path ): string {
		$value = $this->find_value( $path );
		if ( ! is_string( $value ) || '' === $value ) {
			throw new PermanentError(
				"The store's configuration has no text “{$path}”. Correct the chart's ConfigMap."
			);
		}
		return $value;
	}

	/** Return the text at a path, or the default if it is absent. */
	public function get_optional( string $path, string $default ): string {
		$value = $this->find_value( $path );
		return is_string( $value ) || is_int( $value ) ? (string) $value : $default;
	}

	/** Return the content of the file that the path names; throws PermanentError. */
	public function read_secret( string $path ): string {
		$file  = $this->get_text( $path );
		$value = is_readable( $file ) ? trim( (string) file_get_contents( $file, false, null, 0, 4096 ) ) : '';
		if ( '' === $value ) {
			throw new PermanentError(
				"The secret {$file} is missing, empty or not readable. Check the store's Secrets."
			);
		}
		return $value;
	}

	private function find_value( string $path ): mixed {
		$value = $this->content;
		foreach ( explode( '.', $path ) as $part ) {
			$value = is_array( $value ) ? ( $value[ $part ] ?? null ) : null;
		}
		return $value;
	}
}
