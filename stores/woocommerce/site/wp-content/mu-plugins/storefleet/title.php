<?php
/** Show the store's title as its owner wrote it. */

declare(strict_types=1);

namespace Storefleet;

defined( 'ABSPATH' ) || exit;

final class Title {
	/** WordPress's typography turns `--` and `- item` into dashes, which changes a name. */
	public static function register_hooks(): void {
		remove_filter( 'bloginfo', 'wptexturize' );
		remove_filter( 'document_title', 'wptexturize' );
		remove_filter( 'wp_title', 'wptexturize' );
		// The dash between the parts of a page's title, as that typography wrote it.
		add_filter( 'document_title_separator', static fn (): string => '–', 5 );
	}

	/** Write the title into its option, which holds HTML: a literal `&amp;` stays what it is. */
	public static function write( string $title ): void {
		update_option( 'blogname', htmlspecialchars( $title, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8' ) );
	}
}
