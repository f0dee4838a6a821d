<?php
/** The sample goods: all of them with their pictures in one transaction, once; what the owner does to them stays. */

declare(strict_types=1);

namespace Storefleet;

final class Goods {
	private const FOLDER = '/opt/storefleet/shop/goods';
	/** Below the folder of uploads; the web server's start puts the same files there. */
	public const UPLOADS = 'goods';

	public static function are_on_the_shelves(): void {
		Progress::once( 'goods', [ self::class, 'unpack' ] );
	}

	public static function unpack(): void {
		global $wpdb;
		self::copy_pictures();
		wp_defer_term_counting( true );
		$wpdb->query( 'START TRANSACTION' );
		try {
			foreach ( self::list() as $order => $good ) {
				if ( 0 === (int) wc_get_product_id_by_sku( $good['sku'] ) ) {
					self::put( $good, $order );
				}
			}
			$wpdb->query( 'COMMIT' );
		} catch ( \Throwable $error ) {
			$wpdb->query( 'ROLLBACK' );
			throw $error;
		} finally {
			wp_defer_term_counting( false );
		}
	}

	/** @return list<array<string, mixed>> */
	public static function list(): array {
		$goods = json_decode( (string) file_get_contents( self::FOLDER . '/goods.json' ), true );
		return is_array( $goods ) ? $goods : throw new \RuntimeException( 'the list of sample goods is damaged' );
	}

	/** @param array<string, mixed> $good */
	private static function put( array $good, int $order ): void {
		$product = new \WC_Product_Simple();
		$product->set_name( $good['name'] );
		$product->set_slug( $good['slug'] );
		$product->set_sku( $good['sku'] );
		$product->set_status( 'publish' );
		$product->set_catalog_visibility( 'visible' );
		$product->set_regular_price( $good['price'] );
		$product->set_sale_price( $good['sale'] ?? '' );
		$product->set_short_description( $good['short'] );
		$product->set_description( $good['long'] );
		$product->set_weight( $good['weight'] );
		$product->set_featured( $good['featured'] ?? false );
		$product->set_menu_order( $order );
		$product->set_reviews_allowed( false );
		$product->set_category_ids( [ self::category( $good['category'] ) ] );
		$product->set_image_id( self::picture( $good ) );
		if ( $product->save() < 1 ) {
			throw new \RuntimeException( "the sample “{$good['name']}” could not be written" );
		}
	}

	private static function category( string $name ): int {
		$found = term_exists( $name, 'product_cat' ) ?: wp_insert_term( $name, 'product_cat' );
		if ( is_wp_error( $found ) ) {
			throw new \RuntimeException( "the category “{$name}” could not be written: {$found->get_error_message()}" );
		}
		return (int) ( is_array( $found ) ? $found['term_id'] : $found );
	}

	/** @param array<string, mixed> $good */
	private static function picture( array $good ): int {
		$name = self::UPLOADS . "/{$good['picture']}";
		$path = wp_get_upload_dir()['basedir'] . "/{$name}";
		$id   = wp_insert_attachment(
			[ 'post_mime_type' => 'image/jpeg', 'post_title' => $good['name'], 'post_name' => "{$good['slug']}-picture", 'post_status' => 'inherit', 'post_content' => '' ],
			$name,
			0,
			true
		);
		if ( is_wp_error( $id ) ) {
			throw new \RuntimeException( "the picture of “{$good['name']}” could not be written: {$id->get_error_message()}" );
		}
		wp_update_attachment_metadata( $id, wp_generate_attachment_metadata( $id, $path ) );
		update_post_meta( $id, '_wp_attachment_image_alt', $good['alt'] );
		return $id;
	}

	private static function copy_pictures(): void {
		$target = wp_get_upload_dir()['basedir'] . '/' . self::UPLOADS;
		if ( ! wp_mkdir_p( $target ) ) {
			throw new \RuntimeException( "the folder {$target} cannot be made" );
		}
		foreach ( self::list() as $good ) {
			if ( ! copy( self::FOLDER . "/{$good['picture']}", "{$target}/{$good['picture']}" ) ) {
				throw new \RuntimeException( "the picture {$good['picture']} cannot be copied" );
			}
		}
	}
}
