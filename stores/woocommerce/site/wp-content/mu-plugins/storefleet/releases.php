<?php
/**
 * The releases whose set-up is done in this database. Older ones stay listed, so that they can keep
 * serving beside a newer one and after a rollback.
 */

declare(strict_types=1);

namespace Storefleet;

final class Releases {
	public const OPTION = 'storefleet_releases';

	/** Report whether the list, as WordPress returns the option, contains the release of this image. */
	public static function is_set_up( mixed $releases ): bool {
		return is_array( $releases ) && in_array( (string) getenv( 'STORE_RELEASE' ), $releases, true );
	}

	/** Read the list without WordPress; throws DatabaseUnavailable. */
	public static function read( Database $database ): mixed {
		$rows = $database->fetch_rows(
			'SELECT option_value FROM wp_options WHERE option_name = ?', [ self::OPTION ]
		);
		$text = (string) ( $rows[0]['option_value'] ?? '' );
		return @unserialize( $text, [ 'allowed_classes' => false ] );
	}
}
