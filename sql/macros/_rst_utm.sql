-- name: _rst_utm
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- UTM easting and northing in metres of a longitude and latitude in degrees: Kruger's series to the sixth order.
CREATE OR REPLACE MACRO _rst_utm(lon, lat, zone, south) AS
    list_transform(
        list_transform(
            [{
                -- Tangent of the conformal latitude; 0.0818... is the first eccentricity of WGS 84.
                'tau': sinh(asinh(tan(radians(lat))) - 0.0818191908426215 * atanh(0.0818191908426215 * sin(radians(lat)))),
                'lambda_0': radians(lon - (6 * zone - 183))
            }],
            lambda utm_step: {
                'xi': atan2(utm_step.tau, cos(utm_step.lambda_0)),
                'eta': asinh(sin(utm_step.lambda_0) / sqrt(utm_step.tau * utm_step.tau + pow(cos(utm_step.lambda_0), 2)))
            }
        ),
        lambda utm_step: {
            'x': 500000 + 6364902.166165086 * (utm_step.eta + list_sum(list_transform(_rst_utm_series(), lambda utm_term:  -- 0.9996 times the rectifying radius
                utm_term.factor * cos(utm_term.turns * utm_step.xi) * sinh(utm_term.turns * utm_step.eta)
            ))),
            'y': CASE WHEN south THEN 10000000 ELSE 0 END + 6364902.166165086 * (utm_step.xi + list_sum(list_transform(_rst_utm_series(), lambda utm_term:
                utm_term.factor * sin(utm_term.turns * utm_step.xi) * cosh(utm_term.turns * utm_step.eta)
            )))
        }
    )[1];
