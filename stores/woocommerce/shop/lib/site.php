<?php
/** WordPress's part of the set-up: tables, name and address, the administrator. */

declare(strict_types=1);

namespace Storefleet;

final class Site {
	private const TEMPLATE = 'storefleet_template';

	/** What a newer WordPress wants changed in its tables; an older one leaves them as they are. */
	public static function bring_tables_up(): void {
		global $wp_db_version;
		if ( (int) get_option( 'db_version' ) < (int) $wp_db_version ) {
			wp_upgrade();
		}
	}

	public static function is_of( Configuration $store ): void {
		$url = rtrim( $store->text( 'url' ), '/' );
		self::write( 'home', $url );
		self::write( 'siteurl', $url );
		$title = $store->optional( 'parameters.title', $store->text( 'name' ) );
		Progress::whenever( 'title', $title, static fn () => update_option( 'blogname', $title ) );
		Progress::once( 'theme', static fn () => switch_theme( WP_DEFAULT_THEME ) );
		Progress::whenever( 'owner', $store->text( 'store_id' ), static fn () => self::belongs_to( $store ) );
	}

	/** The permalinks of everything that there is now. */
	public static function has_addresses(): void {
		Progress::whenever(
			'addresses',
			Progress::release(),
			static fn () => flush_rewrite_rules( false )
		);
	}

	/** What every store has for itself alone; a password that the owner changes later stays changed. */
	private static function belongs_to( Configuration $store ): void {
		self::administrator( $store );
		foreach ( [ 'woocommerce_store_id' => wp_generate_uuid4(), 'woocommerce_share_key' => wp_generate_password( 32, false ) ] as $name => $value ) {
			update_option( $name, $value );
		}
		update_option( 'woocommerce_admin_install_timestamp', time() );
		update_option( 'blogdescription', 'Good things for every day, sent to your door.' );
	}

	/** The template's user becomes the administrator of this shop, in one statement. */
	private static function administrator( Configuration $store ): void {
		global $wpdb;
		$user = (int) get_option( self::TEMPLATE );
		if ( $user < 1 || false === get_userdata( $user ) ) {
			throw new Mistake( 'The shop has no user that could become its administrator: restore it, or make the store anew.' );
		}
		$name  = $store->secret( 'admin.username_file' );
		$email = 'admin@' . $store->text( 'host' );
		$row   = [
			'user_login'          => $name,
			'user_nicename'       => sanitize_title( $name ),
			'display_name'        => $name,
			'user_email'          => $email,
			'user_pass'           => wp_hash_password( $store->secret( 'admin.password_file' ) ),
			'user_activation_key' => '',
			'user_registered'     => gmdate( 'Y-m-d H:i:s' ),
		];
		if ( false === $wpdb->update( $wpdb->users, $row, [ 'ID' => $user ] ) ) {
			throw new Away( "The administrator could not be written: {$wpdb->last_error}" );
		}
		clean_user_cache( $user );
		delete_user_meta( $user, 'session_tokens' );
		update_user_meta( $user, 'nickname', $name );
		update_user_meta( $user, 'show_welcome_panel', 0 );
		add_filter( 'send_site_admin_email_change_email', '__return_false' );
		update_option( 'admin_email', $email );
		delete_option( 'new_admin_email' );
		update_option( 'admin_email_lifespan', time() + 10 * YEAR_IN_SECONDS );
		update_option( 'woocommerce_email_from_address', $email );
		update_option( 'woocommerce_stock_email_recipient', $email );
	}

	/** Past the constants, which answer for these two options in every request. */
	private static function write( string $name, string $value ): void {
		global $wpdb;
		if ( $wpdb->get_var( $wpdb->prepare( "SELECT option_value FROM {$wpdb->options} WHERE option_name = %s", $name ) ) !== $value ) {
			$wpdb->update( $wpdb->options, [ 'option_value' => $value ], [ 'option_name' => $name ] );
			wp_cache_delete( 'alloptions', 'options' );
		}
	}
}
