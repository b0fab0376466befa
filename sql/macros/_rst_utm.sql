-- name: _rst_utm
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- UTM easting and northing in metres of a longitude and latitude in degrees: Kruger's series to the sixth order.
CREATE OR REPLACE MACRO _rst_utm(lon, lat, zone, south) AS
    list_transform(
        list_transform(
            list_transform(
                [{
                    'tau': tan(radians(lat)),
                    'lambda_0': radians(lon - (6 * zone - 183)),
                    'e': 0.0818191908426215  -- first eccentricity of WGS 84
                }],
                lambda utm_step: {
                    'tau': utm_step.tau * sqrt(1 + pow(sinh(utm_step.e * atanh(utm_step.e * utm_step.tau / sqrt(1 + utm_step.tau * utm_step.tau))), 2))
                        - sinh(utm_step.e * atanh(utm_step.e * utm_step.tau / sqrt(1 + utm_step.tau * utm_step.tau))) * sqrt(1 + utm_step.tau * utm_step.tau),
                    'lambda_0': utm_step.lambda_0
                }
            ),
            lambda utm_step: {
                'xi': atan2(utm_step.tau, cos(utm_step.lambda_0)),
                'eta': asinh(sin(utm_step.lambda_0) / sqrt(utm_step.tau * utm_step.tau + pow(cos(utm_step.lambda_0), 2)))
            }
        ),
        lambda utm_step: {
            'x': 500000 + 6364902.166165086 * (utm_step.eta  -- 0.9996 times the rectifying radius
                + 8.377318206244698e-4 * cos(2 * utm_step.xi) * sinh(2 * utm_step.eta)
                + 7.608527773572307e-7 * cos(4 * utm_step.xi) * sinh(4 * utm_step.eta)
                + 1.197645503329453e-9 * cos(6 * utm_step.xi) * sinh(6 * utm_step.eta)
                + 2.429170607201359e-12 * cos(8 * utm_step.xi) * sinh(8 * utm_step.eta)
                + 5.711757677865804e-15 * cos(10 * utm_step.xi) * sinh(10 * utm_step.eta)
                + 1.491117731258390e-17 * cos(12 * utm_step.xi) * sinh(12 * utm_step.eta)),
            'y': CASE WHEN south THEN 10000000 ELSE 0 END + 6364902.166165086 * (utm_step.xi
                + 8.377318206244698e-4 * sin(2 * utm_step.xi) * cosh(2 * utm_step.eta)
                + 7.608527773572307e-7 * sin(4 * utm_step.xi) * cosh(4 * utm_step.eta)
                + 1.197645503329453e-9 * sin(6 * utm_step.xi) * cosh(6 * utm_step.eta)
                + 2.429170607201359e-12 * sin(8 * utm_step.xi) * cosh(8 * utm_step.eta)
                + 5.711757677865804e-15 * sin(10 * utm_step.xi) * cosh(10 * utm_step.eta)
                + 1.491117731258390e-17 * sin(12 * utm_step.xi) * cosh(12 * utm_step.eta))
        }
    )[1];
